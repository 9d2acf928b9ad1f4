// PageMaps: a sequence's page table for people, as /proc/PID/maps shows a process's memory.
#pragma once

#include <string>

#include "common/mm/kv_cache.h"
#include "common/mm/page_table.h"

namespace aios {

// A line for each run of positions whose pages follow one another and are alike:
//
//      0-63     r-sk  page 0               64 of 64     3 references
//     64-191    r-pk  page 5-6            128 of 128    2 references
//    192-255    rwp-  page 3               40 of 64     1 reference
//
// r: may be read; w: may be written, there is room and nobody else has it; s: shared, p: private
// (the prefix cache's own reference does not count); k: known to the prefix cache. Then how many of
// its positions are taken.
std::string PageMaps(const KvCache& cache, const PageTable& table);

}  // namespace aios
