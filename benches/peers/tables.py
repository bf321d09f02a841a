"""Markdown tables from the raw figures: median over the rounds [least, greatest]."""

from statistics import median

REFERENCE = "perf record -m 64M"


def spread(values, digits=0):
    values = [v for v in values if v is not None]
    if not values:
        return "–"
    middle, least, most = median(values), min(values), max(values)
    return f"{middle:,.{digits}f} [{least:,.{digits}f}, {most:,.{digits}f}]"


def cpu_per_event_ns(figures):
    load = figures["load"]
    if load["mode"] == "switch":  # two processes
        return load["total_cpu_ns"] / load["expected"]
    return (load["user_ns"] + load["sys_ns"]) / load["expected"]


def by_round(runs, tracer):
    return {r["round"]: r for r in runs if r["tracer"] == tracer and not r["fixed"]}


def fixed(runs, tracer, key):
    """What the tracer costs for no events at all."""
    values = [r[key] for r in runs if r["tracer"] == tracer and r["fixed"] and r.get(key) is not None]
    return median(values) if values else 0


def ratios(mine, reference):
    return [v / reference[k] for k, v in mine.items() if reference.get(k)]


def overhead_ns(runs, tracer):
    untraced = {k: cpu_per_event_ns(r) for k, r in by_round(runs, "untraced").items()}
    return {k: cpu_per_event_ns(r) - untraced[k] for k, r in by_round(runs, tracer).items()
            if k in untraced}


def captured(figures):
    got = figures.get("captured")
    return figures["load"]["expected"] if got is None else got


def tracer_ms_per_million(runs, tracer):
    start = fixed(runs, tracer, "tracer_cpu_ns")
    return {k: (r["tracer_cpu_ns"] - start) / max(1, captured(r))
            for k, r in by_round(runs, tracer).items()}


def tracers_of(runs):
    return list(dict.fromkeys(r["tracer"] for r in runs if r["tracer"] != "untraced"))


def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def head(*cells):
    return row(*cells) + "\n|" + "|".join([" --- "] + [" ---: "] * (len(cells) - 1)) + "|"


def events_table(runs):
    lines = [head("tracer", "overhead ns/event", f"of {REFERENCE}", "tracer CPU ms per 10^6",
                  f"of {REFERENCE}", "lost %", "bytes/event", "RSS MiB")]
    reference = overhead_ns(runs, REFERENCE), tracer_ms_per_million(runs, REFERENCE)
    for tracer in tracers_of(runs):
        mine = by_round(runs, tracer).values()
        overhead, cpu = overhead_ns(runs, tracer), tracer_ms_per_million(runs, tracer)
        lost = [100 * max(0, 1 - captured(r) / r["load"]["expected"])
                for r in mine if r.get("captured") is not None]
        start_bytes = fixed(runs, tracer, "out_bytes")
        size = [(r["out_bytes"] - start_bytes) / max(1, captured(r)) for r in mine if r["out_bytes"]]
        lines.append(row(
            tracer, spread(overhead.values()), spread(ratios(overhead, reference[0]), 2),
            spread(cpu.values(), 1), spread(ratios(cpu, reference[1]), 2), spread(lost, 2),
            spread(size, 1), spread([r["rss_kib"] / 1024 for r in mine])))
    return "\n".join(lines)


def latency_table(runs):
    lines = [head("tracer", "p50 ns", "p99 ns", "p99.9 ns", "tracer CPU ms per 10^6", "lost %")]
    for tracer in ["untraced"] + tracers_of(runs):
        mine = by_round(runs, tracer).values()
        lost = [100 * max(0, 1 - captured(r) / r["load"]["expected"])
                for r in mine if r.get("captured") is not None]
        cpu = [] if tracer == "untraced" else tracer_ms_per_million(runs, tracer).values()
        lines.append(row(tracer, *(spread([r["load"][k] for r in mine])
                                   for k in ("lat_p50_ns", "lat_p99_ns", "lat_p999_ns")),
                         spread(cpu, 1), spread(lost, 2)))
    return "\n".join(lines)


def idle_table(runs):
    lines = [head("tracer", "CPU ms in 10 s", "wake-ups in 10 s")]
    for tracer in tracers_of(runs):
        mine = by_round(runs, tracer).values()
        start = {k: fixed(runs, tracer, k) for k in ("tracer_cpu_ns", "wakeups")}
        lines.append(row(tracer, spread([(r["tracer_cpu_ns"] - start["tracer_cpu_ns"]) / 1e6 for r in mine], 1),
                         spread([r["wakeups"] - start["wakeups"] for r in mine])))
    return "\n".join(lines)
