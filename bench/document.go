package bench

import (
	"fmt"
	"math"
	"strings"
)

// Document is what is rendered: as a template with its data, and filled in, for a floor that has no Liquid.
type Document struct {
	Name    string
	Liquid  string
	Data    map[string]any
	HTML    string
	Pages   int
	Scripts bool
	// WaitFor is the expression that tells that its scripts are done; "": nothing is waited for.
	WaitFor string
}

const style = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>%s</title><style>body{font:11pt "Liberation Sans",Arial,sans-serif;color:#222;margin:0}` +
	`h1{color:#0b3d91;font-size:22pt;margin:0 0 6pt}table{width:100%%;border-collapse:collapse;margin-top:12pt}th{background:#0b3d91;color:#fff;text-align:left;padding:6pt}` +
	`td{padding:5pt 6pt;border-bottom:1px solid #ddd}.num{text-align:right;font-variant-numeric:tabular-nums}.grid{display:grid;grid-template-columns:1fr 1fr;gap:12pt}` +
	`.muted{color:#666;font-size:9pt}</style></head><body>`

// Invoice is one page without scripts, of twenty lines.
func Invoice() Document {
	head := func(number string) string {
		return fmt.Sprintf(style, "Invoice "+number) + `<h1>Invoice ` + number + `</h1><div class="grid"><div><b>From</b><br>Acme Instruments Ltd<br>12 Harbour Road<br>Bristol BS1 5TY</div>` +
			`<div><b>Bill to</b><br>Globex GmbH<br>Musterstraße 5<br>80331 München</div></div><p class="muted">Issued 2026-11-22 · Due 2026-12-22</p>` +
			`<table><thead><tr><th>#</th><th>Description</th><th class="num">Qty</th><th class="num">Unit</th><th class="num">Amount</th></tr></thead><tbody>`
	}
	const row = `<tr><td>%v</td><td>%v</td><td class="num">%v</td><td class="num">%v</td><td class="num">%v</td></tr>`
	const tail = `</tbody></table><p class="muted">Payable within 30 days.</p></body></html>`
	var rows []any
	var filled strings.Builder
	for i := range 20 {
		unit, total := fmt.Sprintf("%d.%02d", 50+i*7, i*3), fmt.Sprintf("%d.%02d", (50+i*7)*(i+1), i*3)
		rows = append(rows, map[string]any{"text": "Annual support plan", "count": i + 1, "unit": unit, "total": total})
		fmt.Fprintf(&filled, row, i+1, "Annual support plan", i+1, unit, total)
	}
	return Document{Name: "invoice without scripts", Pages: 1,
		Liquid: head("{{ number }}") + "{% for row in rows %}" + fmt.Sprintf(row, "{{ forloop.index }}", "{{ row.text }}", "{{ row.count }}", "{{ row.unit }}", "{{ row.total }}") + "{% endfor %}" + tail,
		Data:   map[string]any{"number": "INV-2026-0042", "rows": rows},
		HTML:   head("INV-2026-0042") + filled.String() + tail}
}

// Report is twenty pages, the title its own, of text, tables and drawings in SVG.
func Report() Document {
	chapter := func(n, rows, bars string) string {
		return `<h2 style="break-before:page">Chapter ` + n + `</h2><p>` + strings.Repeat("The quarter went as it was planned, but for what was not foreseen. ", 12) + `</p>` +
			`<svg width="600" height="220" viewBox="0 0 600 220"><rect width="600" height="220" fill="#f3f6fb"/>` + bars + `</svg><table><tbody>` + rows + `</tbody></table>`
	}
	const bar = `<rect x="%v" y="%v" width="18" height="%v" fill="#0b3d91"/>`
	const row = `<tr><td>%v</td><td class="num">%v</td></tr>`
	var chapters []any
	var filled strings.Builder
	for c := range 19 {
		var bars, rows []any
		var drawn, written strings.Builder
		for i := range 24 {
			height := 20 + (c*31+i*17)%180
			bars = append(bars, map[string]any{"x": i * 25, "y": 210 - height, "height": height})
			fmt.Fprintf(&drawn, bar, i*25, 210-height, height)
		}
		for i := range 10 {
			rows = append(rows, map[string]any{"name": fmt.Sprintf("Region %d", i), "value": c*1000 + i})
			fmt.Fprintf(&written, row, fmt.Sprintf("Region %d", i), c*1000+i)
		}
		chapters = append(chapters, map[string]any{"n": c + 1, "bars": bars, "rows": rows})
		filled.WriteString(chapter(fmt.Sprint(c+1), written.String(), drawn.String()))
	}
	head, tail := fmt.Sprintf(style, "Report")+"<h1>Report</h1>", "</body></html>"
	return Document{Name: "20-page report with SVG", Pages: 20,
		Liquid: head + "{% for chapter in chapters %}" + chapter("{{ chapter.n }}",
			"{% for row in chapter.rows %}"+fmt.Sprintf(row, "{{ row.name }}", "{{ row.value }}")+"{% endfor %}",
			"{% for bar in chapter.bars %}"+fmt.Sprintf(bar, "{{ bar.x }}", "{{ bar.y }}", "{{ bar.height }}")+"{% endfor %}") + "{% endfor %}" + tail,
		Data: map[string]any{"chapters": chapters},
		HTML: head + filled.String() + tail}
}

// Chart is one page, which a script draws.
func Chart() Document {
	page := func(points string) string {
		return fmt.Sprintf(style, "Chart") + `<h1>Chart</h1><canvas id="c" width="700" height="350"></canvas><div id="s"></div><script>{const points=` + points + `;
const g=document.getElementById('c').getContext('2d');g.strokeStyle='#0b3d91';g.lineWidth=2;g.beginPath();
points.forEach((y,x)=>x?g.lineTo(x*700/points.length,175-y*160):g.moveTo(0,175-y*160));g.stroke();
let svg='<svg width="700" height="300">';points.forEach((y,x)=>{svg+='<circle cx="'+(x*700/points.length)+'" cy="'+(150-y*140)+'" r="3" fill="#c33"/>'});
document.getElementById('s').innerHTML=svg+'</svg>';window.drawn=true}</script></body></html>`
	}
	var points []any
	var filled []string
	for i := range 200 {
		y := math.Round(1000*math.Sin(float64(i)/15)) / 1000
		points = append(points, y)
		filled = append(filled, fmt.Sprint(y))
	}
	return Document{Name: "chart drawn by a script", Pages: 1, Scripts: true, WaitFor: "window.drawn",
		Liquid: page(`[{{ points | join: "," }}]`), Data: map[string]any{"points": points}, HTML: page("[" + strings.Join(filled, ",") + "]")}
}

// Table is rows of one long table, from a number on: what a statement of accounts or a price list is. Its columns are as wide as
// their texts ask for, or all the same. 2,900 rows are 94 pages.
func Table(fixed bool, from, to int) string {
	var out strings.Builder
	fmt.Fprintf(&out, style, "Statement")
	if fixed {
		out.WriteString("<style>table{table-layout:fixed}</style>")
	}
	out.WriteString(`<style>tbody tr:nth-child(even){background:#f3f6fb}</style><table><thead><tr><th>#</th><th>Date</th><th>Description</th><th>Reference</th><th class="num">Amount</th></tr></thead><tbody>`)
	for i := from; i < to; i++ {
		fmt.Fprintf(&out, `<tr><td>%d</td><td>2026-%02d-%02d</td><td>Transfer of %s</td><td>REF-%d</td><td class="num">%d.%02d</td></tr>`,
			i+1, i%12+1, i%28+1, strings.Repeat("goods ", 1+i%7), i*7919, i*37, i%100)
	}
	out.WriteString("</tbody></table></body></html>")
	return out.String()
}
