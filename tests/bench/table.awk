# The report's tables, from the data of bench.sh: lines "SCENARIO PROXY rate p50 p99 cpu" a round; "PROXY STREAMS
# bytes-per-stream rate p50 p99 cpu"; "PROXY p50 p99" of events.

function median(list,    n, values, i, k, x) {
    n = split(list, values, " ")
    for (i = 2; i <= n; i++) {
        x = values[i] + 0
        for (k = i - 1; k > 0 && values[k] + 0 > x; k--)
            values[k + 1] = values[k]
        values[k + 1] = x
    }
    return values[int((n + 1) / 2)] + 0
}

function extreme(list, sign,    n, values, i, best) {
    n = split(list, values, " ")
    best = values[1]
    for (i = 2; i <= n; i++)
        if ((values[i] - best) * sign > 0)
            best = values[i]
    return best + 0
}

FILENAME ~ /data$/ {
    if (!($1 in seen)) {
        seen[$1] = ++count
        names[count] = $1
    }
    has[$1, $2] = 1
    rate[$1, $2] = rate[$1, $2] " " $3
    p50[$1, $2] = p50[$1, $2] " " $4
    p99[$1, $2] = p99[$1, $2] " " $5
    cpu[$1, $2] = cpu[$1, $2] " " $6
    if ($2 == "nginx" && last_claviger[$1] > 0)
        ratio[$1] = ratio[$1] " " last_claviger[$1] / $3
    if ($2 == "claviger")
        last_claviger[$1] = $3
}
FILENAME ~ /streams$/ {
    stream_rate[$1, $2] = stream_rate[$1, $2] " " $4
    stream_cpu[$1, $2] = stream_cpu[$1, $2] " " $7
    stream_bytes[$1, $2] = $3
    stream_counts[$2] = 1
}
FILENAME ~ /events$/ {
    event50[$1] = $2
    event99[$1] = $3
}

END {
    printf "%-22s %-9s %9s %8s %8s %8s   %s\n", "", "", "rate/s", "p50 us", "p99 us", "CPU us", "to nginx: rate (least, most), CPU"
    for (i = 1; i <= count; i++) {
        name = names[i]
        split("claviger nginx haproxy", proxies, " ")
        for (k = 1; k <= 3; k++) {
            proxy = proxies[k]
            if (!((name, proxy) in has))
                continue
            printf "%-22s %-9s %9.0f %8.0f %8.0f %8.2f", k == 1 ? name : "", proxy, median(rate[name, proxy]),
                median(p50[name, proxy]), median(p99[name, proxy]), median(cpu[name, proxy])
            if (proxy == "claviger" && ratio[name] != "")
                printf "   %.2f (%.2f, %.2f), %.2f", median(ratio[name]), extreme(ratio[name], -1), extreme(ratio[name], 1),
                    median(cpu[name, "nginx"]) / median(cpu[name, "claviger"])
            else if (proxy == "haproxy")
                printf "   %.2f, %.2f", median(rate[name, proxy]) / median(rate[name, "nginx"]),
                    median(cpu[name, "nginx"]) / median(cpu[name, proxy])
            printf "\n"
        }
    }
    if (("pool-1", "claviger") in has && ("pool-8", "claviger") in has)
        printf "\nover 7 marked keys: %.3f of the CPU's throughput with a pool of one\n",
            median(cpu["pool-1", "claviger"]) / median(cpu["pool-8", "claviger"])
    printf "\nGET beside idle streams, against the same without them; memory of a stream\n"
    for (k = 1; k <= 2; k++) {
        proxy = k == 1 ? "claviger" : "nginx"
        for (n = 500; n <= 2000; n += 1500)
            if (n in stream_counts)
                printf "    %-9s %5d streams: rate %.2f, CPU %.2f, %.1f KB a stream\n", proxy, n,
                    median(stream_rate[proxy, n]) / median(stream_rate[proxy, 0]),
                    median(stream_cpu[proxy, 0]) / median(stream_cpu[proxy, n]), stream_bytes[proxy, n] / 1024
    }
    printf "\nan event to each of 100 streams, from the provider to the client\n"
    printf "    claviger p50 %d us, p99 %d us; nginx p50 %d us, p99 %d us; ratios %.2f, %.2f\n", event50["claviger"],
        event99["claviger"], event50["nginx"], event99["nginx"], event50["claviger"] / event50["nginx"],
        event99["claviger"] / event99["nginx"]
}
