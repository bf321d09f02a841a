/* Events with every kind of field that lttng-ust has. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER demo
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./demo.h"
#if !defined(DEMO_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define DEMO_H
#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_ENUM(demo, colour, LTTNG_UST_TP_ENUM_VALUES(
	lttng_ust_field_enum_value("RED", 0)
	lttng_ust_field_enum_range("SOME", 1, 5)
	lttng_ust_field_enum_auto("NEXT")))

LTTNG_UST_TRACEPOINT_EVENT(demo, plain,
	LTTNG_UST_TP_ARGS(int, i),
	LTTNG_UST_TP_FIELDS(
		lttng_ust_field_integer(int, i, i)
		lttng_ust_field_integer(unsigned long, more, 77)))

LTTNG_UST_TRACEPOINT_EVENT(demo, rich,
	LTTNG_UST_TP_ARGS(int, i, const char *, s, const short *, a),
	LTTNG_UST_TP_FIELDS(
		lttng_ust_field_integer_hex(unsigned int, hex, i)
		lttng_ust_field_integer_network(int, net, i)
		lttng_ust_field_string(msg, s)
		lttng_ust_field_float(double, d, i * 0.5)
		lttng_ust_field_float(float, f, i * 0.25f)
		lttng_ust_field_array(short, arr, a, 3)
		lttng_ust_field_sequence(short, seq, a, unsigned char, i & 3)
		lttng_ust_field_array_text(char, txt, "hello", 6)
		lttng_ust_field_sequence_text(char, stxt, s, size_t, i % 5 + 1)
		lttng_ust_field_enum(demo, colour, int, e, i % 8)
		lttng_ust_field_integer(signed char, c, -i)))

LTTNG_UST_TRACEPOINT_EVENT(demo, nothing, LTTNG_UST_TP_ARGS(), LTTNG_UST_TP_FIELDS())
LTTNG_UST_TRACEPOINT_LOGLEVEL(demo, nothing, LTTNG_UST_TRACEPOINT_LOGLEVEL_WARNING)
#endif
#include <lttng/tracepoint-event.h>
