/* What is large goes back to the system when it is freed. That is all: it runs once, before main, and nothing calls it.
 *
 * glibc maps what is larger than a threshold by itself, and gives it back at once; but with each such piece that is freed it raises the
 * threshold to its size, up to 32 MiB, and from then on pieces of that size stay in the heaps of the threads that made them. Eight
 * recordings converted at once were seen to peak at 400 MiB so, and at 187 MiB with a threshold that stays, in the same time. Below
 * 4 MiB mapping costs more than it gives: 1 MiB was 15 % slower.
 *
 * Why C: mallopt is not memory-unsafe, but a foreign function, and Rust calls none here. MALLOC_MMAP_THRESHOLD_ in the environment
 * still wins.
 */
#include <malloc.h>
#include <stdlib.h>

#define OWN_MAPPING_BYTES (4 << 20)

__attribute__((constructor)) static void keep_the_threshold(void)
{
    if (!getenv("MALLOC_MMAP_THRESHOLD_"))
        mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_BYTES);
}
