#include "config/flag_table.h"

namespace fathom::config {
namespace {

constexpr Flag kFathomFlags[] = {
    {.name = "config",
     .spellings = "--config",
     .kind = FlagKind::kString,
     .support = Support::kBuilt,
     .help = "YAML file of flags, without dashes; the command line wins"},
    {.name = "arithmetic",
     .spellings = "--arithmetic",
     .generation = Generation::kFathom,
     .kind = FlagKind::kString,
     .support = Support::kBuilt,
     .initial = "deployed",
     .choices = "deployed exact",
     .help = "deployed: the formats the model is served in; exact: float32 throughout"},
    {.name = "speculative_off_switch",
     .spellings = "--speculative-off-switch",
     .generation = Generation::kFathom,
     .kind = FlagKind::kString,
     .support = Support::kBuilt,
     .initial = "auto",
     .choices = "auto never",
     .help = "auto: on a CPU drafts are off while they cost more time than they save; never: they "
             "stay on"},
    {.name = "threads",
     .spellings = "--threads",
     .generation = Generation::kFathom,
     .kind = FlagKind::kInt,
     .support = Support::kBuilt,
     .initial = "0",
     .help = "threads to compute with; 0: one for each processor"},
    {.name = "max_body_mib",
     .spellings = "--max-body-mib",
     .generation = Generation::kFathom,
     .kind = FlagKind::kInt,
     .support = Support::kBuilt,
     .initial = "64",
     .help = "the largest body of a request, in MiB: larger ones are answered 413"},
    {.name = "dry_run",
     .spellings = "--dry-run",
     .generation = Generation::kFathom,
     .support = Support::kBuilt,
     .help = "check and print what would happen, from the model's config.json alone, and stop"},
    {.name = "json",
     .spellings = "--json",
     .generation = Generation::kFathom,
     .support = Support::kBuilt,
     .help = "print it as one JSON object"},
    {.name = "for_machine",
     .spellings = "--for-machine",
     .generation = Generation::kFathom,
     .kind = FlagKind::kString,
     .support = Support::kBuilt,
     .help = "resolve for another machine: h200x8, h100x8, cpu, or a JSON file of machine facts"},
};

}  // namespace

FlagGroup fathom_flags() { return {"Fathom's own", kFathomFlags}; }

}  // namespace fathom::config
