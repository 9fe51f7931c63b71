# What the pictures show, from the data of bench.sh, into the directory `plots`: medians as table.awk makes them.

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

FILENAME ~ /data$/ {
    if (!($1 in seen)) {
        seen[$1] = ++count
        names[count] = $1
    }
    rate[$1, $2] = rate[$1, $2] " " $3
    p50[$1, $2] = p50[$1, $2] " " $4
    p99[$1, $2] = p99[$1, $2] " " $5
    cpu[$1, $2] = cpu[$1, $2] " " $6
}
FILENAME ~ /streams$/ {
    cost[$1, $2] = cost[$1, $2] " " $7
    bytes[$1, $2] = $3
    counts[$2] = 1
}

END {
    for (i = 1; i <= count; i++) {
        name = names[i]
        if ((name, "nginx") in rate) {
            haproxy = (name, "haproxy") in rate ? median(rate[name, "haproxy"]) / median(rate[name, "nginx"]) : "NaN"
            print name, median(rate[name, "claviger"]) / median(rate[name, "nginx"]), haproxy >(plots "/ratios.dat")
            print name, median(p50[name, "claviger"]), median(p99[name, "claviger"]), median(p50[name, "nginx"]),
                median(p99[name, "nginx"]) >(plots "/latency.dat")
        }
        if (name ~ /^pool-/)
            print substr(name, 6), median(cpu[name, "claviger"]) >(plots "/pool.dat")
        if (name ~ /^post-[0-9]/) {
            size = substr(name, 6)
            bytes_of = size ~ /k$/ ? size * 1024 : size ~ /m$/ ? size * 1048576 : size + 0
            print bytes_of, median(cpu[name, "claviger"]), median(cpu[name, "nginx"]) >(plots "/body.dat")
        }
    }
    for (n in counts) {
        print n, median(cost["claviger", n]), median(cost["nginx", n]) >(plots "/beside.dat")
        if (n > 0)
            print n, bytes["claviger", n] / 1024, bytes["nginx", n] / 1024 >(plots "/memory.dat")
    }
}
