#include "eval/prose.h"

#include <array>
#include <cmath>

#include "statistics/bootstrap.h"

namespace candor::eval {
namespace {

constexpr std::array<std::string_view, 12> kParagraphs = {
    // a baker's morning
    "The bakery on our corner opens before anyone else is awake. By the time the first bus goes past, the ovens have "
    "been hot for hours and the windows are white with steam. Mira, who took over from her uncle, still shapes every "
    "loaf by hand, because the machine in the back room makes the dough tired, she says. Customers rarely ask for "
    "anything by name; they point, and she already knows whether they want it sliced. On Saturdays there is a line "
    "down the street, and nobody in it seems to mind the cold very much.",
    // tides
    "Anyone who grows up beside the sea learns to read the tide without thinking about it. You notice the colour of "
    "the wet sand, the angle of the boats at their moorings, the smell that comes off the mud when the water has been "
    "away for a while. Visitors are often surprised by how quickly the bay fills. They spread their blankets on a wide "
    "beach, fall asleep in the sun, and wake to find that the shore has come to them. The older fishermen watch from "
    "the wall and say nothing, since everybody has to learn it once.",
    // a library
    "When the town library moved into the old railway station, people worried that the trains would disturb the "
    "readers. It turned out the other way round. The quiet spread from the reading room to the platform, and "
    "travellers "
    "began to lower their voices as they waited. Some of them came in for the warmth and left with a novel under their "
    "arm. The librarian keeps a shelf by the door for books that have journeyed to the end of the line and been posted "
    "back by strangers, often with a note tucked between the pages.",
    // soil
    "A handful of garden soil is more crowded than any city. Threads of fungus run between the roots and carry water "
    "from places that the plant could never reach alone. Worms drag fallen leaves down into the dark, where smaller "
    "creatures break them apart until nothing is left but food for the next season. If you dig too deeply or too "
    "often, "
    "these threads are torn and must begin again. That is why many gardeners now prefer to lay compost on top of the "
    "ground and let the life below do the mixing at its own pace.",
    // a violin maker
    "A violin is built around the air inside it. The maker taps the thin plates of spruce and maple while they are "
    "still "
    "rough, listening for the note that each one gives, and shaves away a little wood wherever the sound is dull. "
    "There "
    "is no drawing that tells her when to stop. Two boards cut from the same tree may want quite different treatment, "
    "and what pleased her teacher's ear does not always please her own. The varnish comes last and takes weeks to dry, "
    "during which the instrument hangs in a window like washing.",
    // weather in the mountains
    "Weather in the mountains changes faster than plans do. The morning may be so clear that every ridge looks close "
    "enough to touch, and by noon a grey wall stands where the valley used to be. Guides teach beginners to look "
    "behind "
    "them as well as ahead, because storms like to arrive from the side that nobody is admiring. Turning round below "
    "the summit feels like a defeat for about an hour. Then the thunder begins, the path becomes a stream, and the hut "
    "with its smoking stove seems a far better place than any peak.",
    // an old letter
    "Among my grandmother's papers was a letter that had never been opened. The envelope was addressed in a careful "
    "hand "
    "to a man none of us had heard of, and the stamp belonged to a country that no longer exists. For weeks we left it "
    "lying on the kitchen table and argued about what would be right. My mother thought that the dead should keep "
    "their "
    "secrets. My brother was of the opinion that a letter is a promise to be read. In the end we wrote to the address, "
    "and to our astonishment somebody answered.",
    // a court
    "A good judge spends most of the day listening. Lawyers speak as though every case were obvious, and witnesses "
    "remember with great confidence things that did not happen. The skill lies in keeping an open mind while the story "
    "is still being told, and in closing it firmly when the time has come to decide. Younger colleagues often believe "
    "that the law will settle the matter for them. It seldom does. The law draws the edges of the field, but within "
    "them somebody has to weigh one person's loss against another person's right.",
    // bees
    "In late spring a hive may decide to divide. The old queen leaves with half of the workers, and for a few hours "
    "the "
    "whole company hangs from a branch like a brown fruit, humming softly. Scouts fly off in every direction to look "
    "for "
    "a hollow tree or a gap under somebody's roof. When they return they dance, and each dance is an argument for a "
    "different home. Little by little the dancers agree, until nearly all of them point the same way. Then the swarm "
    "rises at once and is gone over the hedge before you can call anyone to see.",
    // theatre
    "The theatre was small enough that an actor could hear a person in the back row unwrap a sweet. Because there was "
    "no money for scenery, the director hung a single sheet across the stage and lit it from behind, so that it could "
    "be "
    "a sail, a wall, or the sky over a battlefield. Critics from the capital praised this as a bold idea. In truth the "
    "workshop had burned down the previous winter, and the sheet was what remained. Years later, with a proper budget, "
    "she still missed the freedom of having almost nothing.",
    // language
    "Children learn a language by getting it wrong in interesting ways. A girl who has said \"went\" for months will "
    "suddenly begin to say \"goed\", and her parents fear that she is slipping back. She is not; she has discovered a "
    "rule and is trying it on everything within reach. No grown-up around her talks like that, so she cannot be "
    "copying. After a while the exceptions return, each to its own place, and the rule stays behind for the words that "
    "nobody has taught her yet. Adults who study a new tongue would do well to be as fearless.",
    // a bridge
    "The bridge had been closed since the flood, and the village had quietly rearranged itself around its absence. "
    "People on the far bank shopped at the other town now, and cousins who used to meet every evening made do with "
    "waving. When the engineers finally came, they found that the foundations were sound and only the roadway had "
    "suffered. The repair took less than a month. On the day of the opening there were speeches and a brass band, but "
    "what everyone remembered afterwards was an old dog that crossed first, alone, as if it had an appointment.",
};

double per_token(const ProseScore& score) {
  double nll = 0, tokens = 0;
  for (size_t i = 0; i < score.tokens.size(); ++i) {
    nll += score.nll_nats[i];
    tokens += static_cast<double>(score.tokens[i]);
  }
  return nll / tokens;
}

}  // namespace

std::span<const std::string_view> prose_paragraphs() {
  return kParagraphs;
}

Result<ProseComparison> compare_prose(const ProseScore& before, const ProseScore& after) {
  const size_t count = before.tokens.size();
  if (count == 0 || before.nll_nats.size() != count || after.nll_nats.size() != count ||
      after.tokens != before.tokens) {
    return error("[prose] the two scores are not of the same tokens: {} and {} paragraphs.", count,
                 after.tokens.size());
  }
  ProseComparison comparison;
  for (size_t i = 0; i < count; ++i) {
    if (before.tokens[i] < 1) return error("[prose] paragraph {} has no token.", i + 1);
    if (!std::isfinite(before.nll_nats[i]) || !std::isfinite(after.nll_nats[i])) {
      return error("[prose] paragraph {} has the likelihoods {} and {} nats. Expected finite numbers.", i + 1,
                   before.nll_nats[i], after.nll_nats[i]);
    }
    const double difference = (after.nll_nats[i] - before.nll_nats[i]) / static_cast<double>(before.tokens[i]);
    comparison.paragraph_differences.push_back(difference);
    comparison.paragraphs_worse += difference > 0;
  }
  comparison.interval = statistics::bootstrap_mean(comparison.paragraph_differences);
  comparison.before_nats_per_token = per_token(before);
  comparison.after_nats_per_token = per_token(after);
  comparison.difference = comparison.after_nats_per_token - comparison.before_nats_per_token;
  return comparison;
}

}  // namespace candor::eval
