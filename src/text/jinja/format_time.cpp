// strftime (declared in format.h), independent of the locale.
#include <array>

#include "text/jinja/format.h"

namespace candor::text::jinja {

namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};

// ISO 8601: the week of the year that holds this day's Thursday.
std::pair<int, int> iso_year_and_week(const std::tm& t) {
  int weekday = (t.tm_wday + 6) % 7;  // Monday is 0
  int thursday = t.tm_yday + 3 - weekday;
  int year = t.tm_year + 1900;
  auto days_in = [](int y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0 ? 366 : 365; };
  if (thursday < 0) {
    --year;
    thursday += days_in(year);
  } else if (thursday >= days_in(year)) {
    thursday -= days_in(year);
    ++year;
  }
  return {year, thursday / 7 + 1};
}

}  // namespace

std::string format_time(std::string_view format, const std::tm& t) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    size_t start = i++;
    bool unpadded = format[i] == '-' && i + 1 < format.size();
    if (unpadded) ++i;
    auto number = [&](int value, int width, char fill = '0') {
      std::string digits = std::to_string(value);
      if (!unpadded && static_cast<int>(digits.size()) < width)
        out.append(static_cast<size_t>(width) - digits.size(), fill);
      out += digits;
    };
    int hour12 = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12;
    switch (format[i]) {
      case 'Y':
        number(t.tm_year + 1900, 1);
        break;
      case 'C':
        number((t.tm_year + 1900) / 100, 2);
        break;
      case 'y':
        number(t.tm_year % 100, 2);
        break;
      case 'm':
        number(t.tm_mon + 1, 2);
        break;
      case 'd':
        number(t.tm_mday, 2);
        break;
      case 'e':
        number(t.tm_mday, 2, ' ');
        break;
      case 'H':
        number(t.tm_hour, 2);
        break;
      case 'I':
        number(hour12, 2);
        break;
      case 'k':
        number(t.tm_hour, 2, ' ');
        break;
      case 'l':
        number(hour12, 2, ' ');
        break;
      case 'M':
        number(t.tm_min, 2);
        break;
      case 'S':
        number(t.tm_sec, 2);
        break;
      case 'f':
        out += "000000";
        break;
      case 'j':
        number(t.tm_yday + 1, 3);
        break;
      case 'u':
        number(t.tm_wday == 0 ? 7 : t.tm_wday, 1);
        break;
      case 'w':
        number(t.tm_wday, 1);
        break;
      case 'U':
        number((t.tm_yday + 7 - t.tm_wday) / 7, 2);
        break;
      case 'W':
        number((t.tm_yday + 7 - (t.tm_wday + 6) % 7) / 7, 2);
        break;
      case 'G':
        number(iso_year_and_week(t).first, 1);
        break;
      case 'V':
        number(iso_year_and_week(t).second, 2);
        break;
      case 'a':
        out += kDays[static_cast<size_t>(t.tm_wday) % 7].substr(0, 3);
        break;
      case 'A':
        out += kDays[static_cast<size_t>(t.tm_wday) % 7];
        break;
      case 'b':
      case 'h':
        out += kMonths[static_cast<size_t>(t.tm_mon) % 12].substr(0, 3);
        break;
      case 'B':
        out += kMonths[static_cast<size_t>(t.tm_mon) % 12];
        break;
      case 'p':
        out += t.tm_hour < 12 ? "AM" : "PM";
        break;
      case 'P':
        out += t.tm_hour < 12 ? "am" : "pm";
        break;
      case 'D':
      case 'x':
        out += format_time("%m/%d/%y", t);
        break;
      case 'F':
        out += format_time("%Y-%m-%d", t);
        break;
      case 'R':
        out += format_time("%H:%M", t);
        break;
      case 'r':
        out += format_time("%I:%M:%S %p", t);
        break;
      case 'T':
      case 'X':
        out += format_time("%H:%M:%S", t);
        break;
      case 'c':
        out += format_time("%a %b %e %H:%M:%S %Y", t);
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'z':
      case 'Z':
        break;  // the moment has no zone
      case '%':
        out += '%';
        break;
      default:
        out += format.substr(start, i - start + 1);
    }
  }
  return out;
}

}  // namespace candor::text::jinja
