// candor bench MODEL --roles: what PPO's four models take in memory on one shared base, and on four of their own.
#pragma once

#include "cli/session.h"
#include "files/json_file.h"

namespace candor::cli {

// Bytes of the base and of what each role adds, as the ledger counts them and as the system does (anonymous resident
// memory, by difference): policy, reward and critic with an adapter of this rank on all linear layers, the last two
// with a scalar head, the reference with nothing; one pass serves them all. Then each of the three with a base of its
// own loaded beside them. The session's model is loaded anew.
Result<files::Json> measure_roles(Session& session, int64_t rank);
void print_roles(const files::Json& roles);

}  // namespace candor::cli
