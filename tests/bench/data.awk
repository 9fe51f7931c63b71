# Reads the data that bench.sh writes (bench-measure.sh tells its lines); before table.awk, rows.awk and plots.awk.

# Of a list of numbers with a space before each.
function median(list,    n, values, i, k, x) {
    n = split(list, values, " ")
    for (i = 2; i <= n; i++) {
        x = values[i] + 0
        for (k = i - 1; k > 0 && values[k] + 0 > x; k--)
            values[k + 1] = values[k]
        values[k + 1] = x
    }
    return n % 2 ? values[(n + 1) / 2] + 0 : (values[n / 2] + values[n / 2 + 1]) / 2
}

function extreme(list, sign,    n, values, i, best) {
    n = split(list, values, " ")
    best = values[1]
    for (i = 2; i <= n; i++)
        if ((values[i] - best) * sign > 0)
            best = values[i]
    return best + 0
}

# The ratios of two sides in each round: what = 4 for the rate, 9 for cpu (the reference's over the side's, so that
# more is better in both).
function ratios(name, side, reference, what,    round, list, a, b) {
    for (round = 1; round <= rounds[name]; round++) {
        a = value[name, round, side, what]
        b = value[name, round, reference, what]
        if (a > 0 && b > 0)
            list = list " " (what == RATE ? a / b : b / a)
    }
    return list
}

BEGIN {
    RATE = 5
    P50 = 6
    P75 = 7
    P90 = 8
    P99 = 9
    CPU = 10
}

$1 == "@" {
    names[++count] = $2
    reference[$2] = $3
}

$1 == "load" || $1 == "event" {
    if ($3 > rounds[$2])
        rounds[$2] = $3
    if (!(($2, $4) in side_of)) {
        side_of[$2, $4] = 1
        sides[$2] = sides[$2] " " $4
    }
    for (i = RATE; i <= CPU; i++) {
        value[$2, $3, $4, i] = $i
        all[$2, $4, i] = all[$2, $4, i] " " $i
    }
}

$1 == "memory" {
    memory[$2, $3] = $4
    if (!($3 in memory_seen)) {
        memory_seen[$3] = 1
        memory_counts[++memory_count] = $3
    }
}

$1 == "fact" {
    fact[$2] = $3
}

$1 == "note" {
    sub(/^note /, "")
    notes[++note_count] = $0
}
