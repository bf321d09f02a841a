/* demo COUNT: so many rounds of the events of demo.h. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "demo.h"
#include <stdlib.h>

int main(int argc, char **argv)
{
	const short list[3] = { 1, -2, 3 };
	int count = argc > 1 ? atoi(argv[1]) : 1;

	for (int i = 0; i < count; i++) {
		lttng_ust_tracepoint(demo, plain, i);
		lttng_ust_tracepoint(demo, rich, i, "some text", list);
		if (i % 10 == 0)
			lttng_ust_tracepoint(demo, nothing);
	}
	return 0;
}
