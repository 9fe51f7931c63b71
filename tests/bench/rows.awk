# The end of the report: what must hold, and whether it does.

function number(value, least) {
    return value == "" ? "" : sprintf(least >= 10 ? "%.1f" : "%.3f", value)
}

# more: 1 = the value must be at least that, -1 = at most. by_cpu: the same ratio by CPU time.
function row(text, value, more, least, aim, by_cpu,    verdict) {
    verdict = "DOES NOT HOLD"
    if (value == "")
        verdict = "not measured"
    else if ((value - aim) * more >= 0)
        verdict = "holds, as aimed at"
    else if ((value - least) * more >= 0)
        verdict = "holds"
    printf "%-68s %8s %8s %8s %8s   %s\n", text, number(value, least), least, aim, number(by_cpu, least), verdict
}

# A row of the side's ratio to the scenario's reference.
function ratio_row(text, name, side, least, aim) {
    if ((name, side) in side_of)
        row(text, median(ratios(name, side, reference[name], RATE)), 1, least, aim,
            median(ratios(name, side, reference[name], CPU)))
    else
        row(text, "", 1, least, aim)
}

function delay_ratio(name, side, reference, what) {
    if (!((name, reference) in side_of))
        return ""
    return added(name, side, what) / added(name, reference, what)
}

# All that an event takes: the noise of two differences would be larger than what is looked for.
function time_ratio(name, what) {
    return (name, "off") in side_of ? median(all[name, "all", what]) / median(all[name, "off", what]) : ""
}

END {
    printf "\n%-68s %8s %8s %8s %8s\n", "What must hold", "value", "least", "aim", "by CPU"
    ratio_row("GET 1 KB, rate to nginx", "get-1k", "claviger", 0.75, 0.85)
    ratio_row("POST 10 KB, rate to nginx", "post-10k", "claviger", 0.80, 1.00)
    ratio_row("https upstream, rate to nginx", "https", "claviger", 0.95, 1.10)
    ratio_row("GET beside 2,000 idle streams, rate to that without them", "beside-claviger", "2000", 0.85, 0.95)
    row("what is added to p50 of an event to 100 streams, to nginx, at most",
        delay_ratio("events-100", "claviger", "nginx", P50), -1, 1.1, 0.9)
    row("what is added to p99 of it, to nginx, at most",
        delay_ratio("events-100", "claviger", "nginx", P99), -1, 1.1, 0.9)
    row("memory of an idle stream (header_size 8K), KB, at most",
        ("claviger-8K", 2000) in memory ? memory["claviger-8K", 2000] / 1024 : "", -1, 24, 14)
    ratio_row("walking over 7 marked keys, rate to that with a pool of one", "pool-8", "pool-8", 0.97, 0.99)
    ratio_row("small POST, rate to Portkey", "portkey", "claviger-chat", 25, 35)
    ratio_row("GET 1 KB, all that can be seen on, rate to all off", "everything-get-1k", "all", 0.90, 0.90)
    ratio_row("POST 10 KB, all that can be seen on, rate to all off", "everything-post-10k", "all", 0.90, 0.90)
    row("p50 of an event to 100 streams, all on, to all off, at most", time_ratio("events-everything", P50), -1, 1.1, 1)
    row("marks lost by 4 workers at once, at most", fact["marks-lost-4"], -1, 0, 0)
}
