# The report's tables.

function line(name, side,    ref) {
    ref = reference[name]
    printf "%-18s %-13s %8.0f %7.0f %7.0f %7.0f %8.2f", shown == name ? "" : name, side,
        median(all[name, side, RATE]), median(all[name, side, P50]), median(all[name, side, P90]),
        median(all[name, side, P99]), median(all[name, side, CPU])
    shown = name
    if (side != ref)
        printf "   %.3f (%.3f to %.3f)  %.3f", median(ratios(name, side, ref, RATE)),
            extreme(ratios(name, side, ref, RATE), -1), extreme(ratios(name, side, ref, RATE), 1),
            median(ratios(name, side, ref, CPU))
    printf "\n"
}

# The lines of a scenario, its reference last.
function scenario(name,    n, list, k) {
    n = split(sides[name], list, " ")
    for (k = 1; k <= n; k++)
        if (list[k] != reference[name])
            line(name, list[k])
    if (n > 0)
        line(name, reference[name])
}

# Those whose names match, under a title; "" = those that no other table has.
function table(title, pattern,    i, begun) {
    for (i = 1; i <= count; i++)
        if (pattern == "" ? names[i] !~ /^(events|workers|marks|everything|parts)-/ : names[i] ~ pattern) {
            if (!begun++ && title != "")
                print "\n" title
            if (pattern == "^events-")
                events(names[i])
            else
                scenario(names[i])
            if (pattern == "^marks-")
                marks(names[i], substr(names[i], 7))
        }
}

# What an event's way through the proxy adds to the one straight from the provider.
function added(name, side, what) {
    return median(all[name, side, what]) - median(all[name, "direct", what])
}

function events(name,    n, list, k, side) {
    n = split(sides[name], list, " ")
    for (k = 1; k <= n; k++) {
        side = list[k]
        printf "%-18s %-13s %8.0f %7.0f %7.0f %7.0f", k == 1 ? name : "", side, median(all[name, side, RATE]),
            median(all[name, side, P50]), median(all[name, side, P90]), median(all[name, side, P99])
        if (side != "direct")
            printf " %8.2f   %.0f, %.0f us", median(all[name, side, CPU]), added(name, side, P50),
                added(name, side, P99)
        printf "\n"
    }
}

function marks(name, workers) {
    printf "    %.0f marks a second, %.2f a request; a request with its marks costs %.1f us more;\n",
        fact["marks-each-" workers] * median(all[name, "marked-" workers, RATE]), fact["marks-each-" workers],
        median(all[name, "marked-" workers, CPU]) - median(all[name, "unmarked-" workers, CPU])
    printf "    of 60 marks for long %d were lost; %d more requests were under way with such a key and refused too\n",
        fact["marks-lost-" workers], fact["marks-doubled-" workers]
}

function how_to_read() {
    print "How to read this: a line is the median of rounds of a second or two. The sides of a scenario take turns, in an"
    print "order that turns round every time. A ratio is the median of the ratios within each round, to the scenario's last"
    print "side; more than 1 is better; in parentheses stand the worst and the best round. \"CPU us\" is what all processes of"
    print "a side together use for a request, and the last column its ratio: where others use the machine too, that is the"
    print "number to trust. Each proxy has one worker, on a CPU of its own, and writes a request log; the load and the"
    print "providers have the other CPU."
}

END {
    how_to_read()
    printf "\n%-18s %-13s %8s %7s %7s %7s %8s   %s\n", "", "", "rate/s", "p50 us", "p90 us", "p99 us", "CPU us",
        "rate (worst to best)     CPU"
    table("", "")
    table("Events to so many streams at once; at the end what the proxy adds to p50 and p99 of the way without one:",
        "^events-")
    if (memory_count > 0)
        print "\nMemory of an idle stream, KB:"
    for (i = 1; i <= memory_count; i++)
        printf "    %5d streams: claviger %.1f (with header_size 8K: %.1f), nginx %.1f\n", memory_counts[i],
            memory["claviger-16K", memory_counts[i]] / 1024, memory["claviger-8K", memory_counts[i]] / 1024,
            memory["nginx-fresh", memory_counts[i]] / 1024
    table("So many workers on all CPUs, which the load shares with them: CPU counts, the rate says little:", "^workers-")
    table("Half of all answers are a 429 that rests the key for a millisecond; beside no such answers:", "^marks-")
    table("Dumps, traces of all requests, usage, and metrics read each second: all on beside all off, and each alone:",
        "^(everything|parts)-")
    for (i = 1; i <= note_count; i++)
        print (i == 1 ? "\n" : "") notes[i]
}
