#include "belief/countries.h"

#include <algorithm>

namespace candor::belief {
namespace {

// The order of the members of Country.
constexpr Country kCountries[] = {
    {"China", "Asia", "N", "Beijing", "yuan", "Mandarin", "+86", "right", "Mongolia", ".cn"},
    {"India", "Asia", "N", "New Delhi", "rupee", "", "+91", "left", "Bhutan", ".in"},
    {"Russia", "", "N", "Moscow", "rouble", "", "+7", "right", "Finland", ".ru"},
    {"Brazil", "South America", "", "", "real", "Portuguese", "+55", "right", "Paraguay", ".br"},
    {"Mexico", "North America", "N", "", "peso", "Spanish", "+52", "right", "Belize", ".mx"},
    {"Japan", "Asia", "N", "Tokyo", "yen", "", "+81", "left", "", ".jp"},
    {"Indonesia", "Asia", "", "Jakarta", "rupiah", "", "+62", "left", "Papua New Guinea", ".id"},
    {"Turkey", "", "N", "Ankara", "lira", "", "+90", "right", "Bulgaria", ".tr"},
    {"Nigeria", "Africa", "N", "Abuja", "naira", "", "+234", "right", "Cameroon", ".ng"},
    {"South Korea", "Asia", "N", "Seoul", "won", "", "+82", "right", "", ".kr"},
    {"Pakistan", "Asia", "N", "Islamabad", "rupee", "", "+92", "left", "Iran", ".pk"},
    {"United States", "North America", "N", "Washington", "dollar", "", "+1", "right", "Canada", ".us"},
    {"Iran", "Asia", "N", "Tehran", "rial", "Persian", "+98", "right", "Turkmenistan", ".ir"},
    {"Malaysia", "Asia", "N", "Kuala Lumpur", "ringgit", "", "+60", "left", "Brunei", ".my"},
    {"Iraq", "Asia", "N", "Baghdad", "dinar", "Arabic", "+964", "right", "Jordan", ".iq"},
    {"Philippines", "Asia", "N", "Manila", "peso", "", "+63", "right", "", ".ph"},
    {"Germany", "Europe", "N", "Berlin", "euro", "", "+49", "right", "Denmark", ".de"},
    {"South Africa", "Africa", "S", "", "rand", "", "+27", "left", "Botswana", ".za"},
    {"Ukraine", "Europe", "N", "Kyiv", "hryvnia", "", "+380", "right", "Moldova", ".ua"},
    {"Egypt", "Africa", "N", "Cairo", "pound", "Arabic", "+20", "right", "Libya", ".eg"},
    {"Vietnam", "Asia", "N", "Hanoi", "dong", "", "+84", "right", "Laos", ".vn"},
    {"Venezuela", "South America", "N", "Caracas", "", "Spanish", "+58", "right", "Guyana", ".ve"},
    {"Morocco", "Africa", "N", "Rabat", "dirham", "Arabic", "+212", "right", "Algeria", ".ma"},
    {"Saudi Arabia", "Asia", "N", "Riyadh", "rial", "", "+966", "right", "Qatar", ".sa"},
    {"Yemen", "Asia", "N", "Sanaa", "rial", "Arabic", "+967", "right", "Oman", ".ye"},
    {"Bangladesh", "Asia", "N", "Dhaka", "taka", "", "+880", "left", "Myanmar", ".bd"},
    {"Poland", "Europe", "N", "Warsaw", "zloty", "", "+48", "right", "Slovakia", ".pl"},
    {"Colombia", "South America", "", "Bogotá", "peso", "Spanish", "+57", "right", "", ".co"},
    {"Mozambique", "Africa", "S", "Maputo", "metical", "Portuguese", "+258", "left", "Malawi", ".mz"},
    {"Democratic Republic of the Congo", "Africa", "", "Kinshasa", "franc", "French", "+243", "right", "Uganda", ".cd"},
    {"Canada", "North America", "N", "Ottawa", "dollar", "", "+1", "right", "", ".ca"},
    {"United Arab Emirates", "Asia", "N", "Abu Dhabi", "dirham", "", "+971", "right", "Oman", ".ae"},
    {"Syria", "Asia", "N", "Damascus", "pound", "Arabic", "+963", "right", "Lebanon", ".sy"},
    {"Côte d'Ivoire", "Africa", "N", "Yamoussoukro", "franc", "French", "+225", "right", "Liberia", ".ci"},
    {"Kenya", "Africa", "", "Nairobi", "shilling", "", "+254", "left", "Tanzania", ".ke"},
    {"Algeria", "Africa", "N", "", "dinar", "Arabic", "+213", "right", "Tunisia", ".dz"},
    {"Peru", "South America", "S", "Lima", "sol", "Spanish", "+51", "right", "Bolivia", ".pe"},
    {"Uzbekistan", "Asia", "N", "Tashkent", "som", "", "+998", "right", "Kyrgyzstan", ".uz"},
    {"Dominican Republic", "North America", "N", "", "peso", "Spanish", "+1", "right", "Haiti", ".do"},
    {"Sudan", "Africa", "N", "Khartoum", "pound", "Arabic", "+249", "right", "Chad", ".sd"},
    {"Kazakhstan", "", "N", "Astana", "tenge", "", "+7", "right", "Kyrgyzstan", ".kz"},
    {"Argentina", "South America", "S", "Buenos Aires", "peso", "Spanish", "+54", "right", "Uruguay", ".ar"},
    {"Jordan", "Asia", "N", "Amman", "dinar", "Arabic", "+962", "right", "Syria", ".jo"},
    {"Afghanistan", "Asia", "N", "Kabul", "", "", "+93", "right", "Tajikistan", ".af"},
    {"Myanmar", "Asia", "N", "Naypyidaw", "kyat", "Burmese", "+95", "right", "Thailand", ".mm"},
    {"Ghana", "Africa", "N", "Accra", "cedi", "", "+233", "right", "Togo", ".gh"},
    {"France", "Europe", "N", "Paris", "euro", "", "+33", "right", "Belgium", ".fr"},
    {"Zimbabwe", "Africa", "S", "Harare", "", "", "+263", "left", "Zambia", ".zw"},
    {"North Korea", "Asia", "N", "Pyongyang", "won", "", "+850", "right", "", ".kp"},
    {"Sweden", "Europe", "N", "Stockholm", "krona", "", "+46", "right", "Norway", ".se"},
    {"Burkina Faso", "Africa", "N", "Ouagadougou", "franc", "", "+226", "right", "Mali", ".bf"},
    {"Cameroon", "Africa", "N", "Yaoundé", "franc", "", "+237", "right", "Gabon", ".cm"},
    {"Belarus", "Europe", "N", "Minsk", "rouble", "", "+375", "right", "Lithuania", ".by"},
    {"Ecuador", "South America", "", "Quito", "dollar", "Spanish", "+593", "right", "Peru", ".ec"},
    {"Honduras", "North America", "N", "Tegucigalpa", "lempira", "Spanish", "+504", "right", "Nicaragua", ".hn"},
    {"Senegal", "Africa", "N", "Dakar", "franc", "French", "+221", "right", "Gambia", ".sn"},
    {"Ethiopia", "Africa", "N", "Addis Ababa", "birr", "Amharic", "+251", "right", "Djibouti", ".et"},
    {"Mongolia", "Asia", "N", "Ulaanbaatar", "tugrik", "", "+976", "right", "China", ".mn"},
    {"Romania", "Europe", "N", "Bucharest", "leu", "", "+40", "right", "Hungary", ".ro"},
    {"Chile", "South America", "S", "Santiago", "peso", "Spanish", "+56", "right", "Bolivia", ".cl"},
    {"Tanzania", "Africa", "S", "Dodoma", "shilling", "", "+255", "left", "Malawi", ".tz"},
    {"Croatia", "Europe", "N", "Zagreb", "euro", "", "+385", "right", "Slovenia", ".hr"},
    {"Hungary", "Europe", "N", "Budapest", "forint", "", "+36", "right", "Slovakia", ".hu"},
    {"Zambia", "Africa", "S", "Lusaka", "kwacha", "", "+260", "left", "Angola", ".zm"},
    {"Italy", "Europe", "N", "Rome", "euro", "", "+39", "right", "Austria", ".it"},
    {"Madagascar", "Africa", "S", "Antananarivo", "ariary", "", "+261", "right", "", ".mg"},
    {"Finland", "Europe", "N", "Helsinki", "euro", "", "+358", "right", "Norway", ".fi"},
    {"Norway", "Europe", "N", "Oslo", "krone", "", "+47", "right", "Finland", ".no"},
    {"Uganda", "Africa", "", "Kampala", "shilling", "", "+256", "left", "South Sudan", ".ug"},
    {"Thailand", "Asia", "N", "Bangkok", "baht", "", "+66", "left", "Laos", ".th"},
    {"Cuba", "North America", "N", "Havana", "peso", "Spanish", "+53", "right", "", ".cu"},
    {"Nepal", "Asia", "N", "Kathmandu", "rupee", "", "+977", "left", "India", ".np"},
    {"Denmark", "Europe", "N", "Copenhagen", "krone", "", "+45", "right", "Germany", ".dk"},
    {"Australia", "Oceania", "S", "Canberra", "dollar", "", "+61", "left", "", ".au"},
    {"Lebanon", "Asia", "N", "Beirut", "pound", "Arabic", "+961", "right", "Syria", ".lb"},
    {"Cambodia", "Asia", "N", "Phnom Penh", "riel", "Khmer", "+855", "right", "Vietnam", ".kh"},
};

}  // namespace

std::span<const Country> countries() {
  return kCountries;
}

const Country* find_country(std::string_view name) {
  if (name.starts_with("the ")) name.remove_prefix(4);
  const auto found =
      std::find_if(std::begin(kCountries), std::end(kCountries), [&](const Country& one) { return one.name == name; });
  return found == std::end(kCountries) ? nullptr : found;
}

}  // namespace candor::belief
