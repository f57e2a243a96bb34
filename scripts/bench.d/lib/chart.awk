# Draws lines `SERIES<tab>X<tab>Y` as an SVG: one line a series, or bars in groups with -v bars=1. X is a number, or a name for bars.
# usage: awk -v title=… -v x=… -v y=… [-v bars=1] -f chart.awk
BEGIN {
  FS = "\t"
  split("#0f62fe #da1e28 #198038 #8a3ffc #b28600 #6f6f6f", colours, " ")
  width = 760; height = 400; left = 60; right = 190; top = 44; bottom = 52
}
{
  if (!($1 in series)) { series[$1] = ++series_count; series_name[series_count] = $1 }
  if (!($2 in place)) { place[$2] = ++place_count; place_name[place_count] = $2 }
  value[series[$1], place[$2]] = $3; given[series[$1], place[$2]] = 1
  if ($3 > most) most = $3
}
function nice(most,   power, digit) {
  power = 10 ^ int(log(most) / log(10)); if (power > most) power /= 10
  digit = most / power
  return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10)
}
function text(px, py, anchor, words) {
  gsub(/&/, "\\&amp;", words); gsub(/</, "\\&lt;", words)
  printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", px, py, anchor, words
}
function px(p) { return left + (bars ? (p - 0.5) * plot_width / place_count : place_count == 1 ? plot_width / 2 : (p - 1) * plot_width / (place_count - 1)) }
function py(v) { return top + plot_height * (1 - v / limit) }
END {
  if (!NR) { print "chart.awk: nothing to draw" > "/dev/stderr"; exit 1 }
  plot_width = width - left - right; plot_height = height - top - bottom
  limit = most > 0 ? nice(most) : 1
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#525252\">\n", width, height
  printf "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n<g font-size=\"15\" fill=\"#161616\">", width, height
  text(left, 24, "start", title); print "</g>"
  for (i = 0; i <= 5; i++) {
    printf "<line x1=\"%d\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#e0e0e0\"/>\n", left, left + plot_width, py(limit * i / 5), py(limit * i / 5)
    text(left - 8, py(limit * i / 5) + 4, "end", sprintf("%g", limit * i / 5))
  }
  for (p = 1; p <= place_count; p++) text(px(p), top + plot_height + 18, "middle", place_name[p])
  text(left + plot_width / 2, height - 12, "middle", x)
  text(left - 44, top - 8, "start", y)
  for (s = 1; s <= series_count; s++) {
    colour = colours[(s - 1) % 6 + 1]; points = ""
    for (p = 1; p <= place_count; p++) {
      if (!((s, p) in given)) continue
      v = value[s, p]
      if (bars) {
        each = plot_width / place_count * 0.8 / series_count
        printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", px(p) + (s - 1 - series_count / 2) * each, py(v), each * 0.92, top + plot_height - py(v), colour
      } else {
        points = points sprintf("%.1f,%.1f ", px(p), py(v))
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", px(p), py(v), colour
      }
    }
    if (!bars) printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", points, colour
    printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", left + plot_width + 16, top + s * 20 - 10, colour
    text(left + plot_width + 34, top + s * 20, "start", series_name[s])
  }
  print "</svg>"
}
