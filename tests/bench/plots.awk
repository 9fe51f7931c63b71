# What the pictures show, into the directory `plots`: files of columns for pictures.gp.

function file(name) {
    return plots "/" name ".dat"
}

# Lines "percent first second" of a scenario; of a third side, if there is one, in a file of its own.
function distribution(name, out, first, second, third,    i, percents) {
    if (!((name, first) in side_of))
        return
    split("50 75 90 99", percents, " ")
    for (i = 1; i <= 4; i++) {
        print percents[i], median(all[name, first, P50 + i - 1]), median(all[name, second, P50 + i - 1]) >file(out)
        if ((name, third) in side_of)
            print percents[i], median(all[name, third, P50 + i - 1]) >file(out "-" third)
    }
}

function ratio_line(name, side, what) {
    return (name, side) in side_of ? median(ratios(name, side, reference[name], what)) : 0
}

END {
    for (i = 1; i <= count; i++) {
        name = names[i]
        if (reference[name] == "nginx")
            print name, ratio_line(name, "claviger", RATE), ratio_line(name, "claviger", CPU),
                ratio_line(name, "haproxy", RATE) >file("ratios")
        if (name ~ /^workers-/) {
            n = substr(name, 9)
            print n, median(all[name, "claviger-" n, CPU]), median(all[name, "nginx-" n, CPU]) >file("workers")
        }
        if (name ~ /^post-[0-9]/ && (name, "claviger") in side_of) {
            size = substr(name, 6)
            bytes = size ~ /k$/ ? size * 1024 : size ~ /m$/ ? size * 1048576 : size + 0
            print bytes, median(all[name, "claviger", CPU]), median(all[name, "nginx", CPU]) >file("body")
        }
        if (name ~ /^pool-/) {
            if (name == "pool-8")
                print 1, median(all[name, "pool-1", CPU]) >file("pool")
            print substr(name, 6), median(all[name, name, CPU]) >file("pool")
        }
        if (name ~ /^beside-/) {
            n = split("0 500 2000", list, " ")
            for (k = 1; k <= n; k++)
                if ((name, list[k]) in side_of)
                    beside[list[k]] = beside[list[k]] " " median(all[name, list[k], CPU])
        }
        if (name ~ /^parts-/) {
            n = split("all-but-dump metrics usage trace-0.01 trace dump", list, " ")
            for (k = 1; k <= n; k++)
                parts[list[k]] = parts[list[k]] " " median(all[name, list[k], CPU]) - median(all[name, "off", CPU])
        }
    }
    for (n = 0; n <= 2000; n += 500)
        if (n in beside)
            print n beside[n] >file("beside")
    n = split("metrics usage trace-0.01 trace all-but-dump dump", list, " ")
    for (k = 1; k <= n; k++)
        if (list[k] in parts)
            print list[k] parts[list[k]] >file("parts")
    for (i = 1; i <= memory_count; i++)
        print memory_counts[i], memory["claviger-16K", memory_counts[i]] / 1024,
            memory["claviger-8K", memory_counts[i]] / 1024,
            memory["nginx-fresh", memory_counts[i]] / 1024 >file("memory")
    distribution("get-1k", "latency-get", "claviger", "nginx", "haproxy")
    distribution("post-10k", "latency-post", "claviger", "nginx", "haproxy")
    distribution("https", "latency-https", "claviger", "nginx", "haproxy")
    distribution("events-100", "latency-events", "claviger", "nginx", "direct")
}
