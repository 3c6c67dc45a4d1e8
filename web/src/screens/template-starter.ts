// What a new template begins with.
import type { TemplateContentInput } from '../api/generated'

/** A small invoice with data, so that the preview has something to show at once. */
export const invoice: TemplateContentInput = {
  html: `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Invoice {{ number | escape }}</title>
</head>
<body>
  <section class="top">
    <address>
      <strong>{{ customer.name | escape }}</strong><br>
      {% for line in customer.address %}{{ line | escape }}<br>{% endfor %}
    </address>
    <dl>
      <dt>Date</dt><dd>{{ date | date: "%-d %B %Y" }}</dd>
      <dt>Due</dt><dd>{{ due | date: "%-d %B %Y" }}</dd>
    </dl>
  </section>

  <h1>Invoice {{ number | escape }}</h1>

  <table>
    <thead>
      <tr><th>Item</th><th class="n">Quantity</th><th class="n">Price</th><th class="n">Amount</th></tr>
    </thead>
    <tbody>
      {%- for line in lines %}
      <tr>
        <td>{{ line.text | escape }}{% if line.note %}<small>{{ line.note | escape }}</small>{% endif %}</td>
        <td class="n">{{ line.quantity }}</td>
        <td class="n">{{ line.price | escape }}</td>
        <td class="n">{{ line.amount | escape }}</td>
      </tr>
      {%- endfor %}
    </tbody>
  </table>

  <p class="total"><span>Total</span> {{ currency | escape }} {{ total | escape }}</p>

  <p class="pay">Please pay by {{ due | date: "%-d %B %Y" }}, with the reference {{ number | escape }}. Thank you!</p>
</body>
</html>
`,
  css: `body { margin: 0; font: 10.5pt/1.5 "Liberation Sans", Arial, sans-serif; color: #1f2937 }
.top { display: flex; justify-content: space-between; margin: 4mm 0 16mm }
address { font-style: normal }
dl { display: grid; grid-template-columns: auto auto; gap: 1mm 6mm; margin: 0; align-content: start }
dt { color: #6b7280 }
dd { margin: 0; text-align: right }
h1 { font-size: 22pt; font-weight: 600; margin: 0 0 6mm; color: #2547a8 }
table { width: 100%; border-collapse: collapse }
thead { display: table-header-group }
th { text-align: left; font-weight: 600; color: #2547a8; border-bottom: 0.5mm solid #2547a8; padding: 2mm }
td { padding: 2.5mm 2mm; border-bottom: 0.2mm solid #d8dee6; vertical-align: top }
tr { break-inside: avoid }
small { display: block; color: #6b7280 }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.total { margin: 6mm 0 12mm auto; width: 70mm; padding: 3mm 4mm; display: flex; justify-content: space-between;
  background: #eef2fc; border-radius: 2mm; font-size: 13pt; font-weight: 600; break-inside: avoid }
.total span { color: #2547a8 }
.pay { color: #4b5563; break-inside: avoid }
`,
  headerHtml: `<div style="display: flex; justify-content: space-between; font: 9pt 'Liberation Sans', Arial, sans-serif; color: #6b7280">
  <b style="color: #2547a8; font-size: 13pt">Harbour Paper Works</b><span>12 Quay Street, Bristol</span>
</div>
`,
  footerHtml: `<div style="display: flex; justify-content: space-between; font: 8pt 'Liberation Sans', Arial, sans-serif; color: #6b7280">
  <span>Invoice {{ number | escape }}</span>
  <span>Page <span class="pageNumber"></span> of <span class="totalPages"></span></span>
</div>
`,
  page: { format: 'A4', marginTop: '28mm', marginRight: '20mm', marginBottom: '22mm', marginLeft: '20mm' },
  schema: {
    type: 'object',
    required: ['number', 'customer', 'lines', 'total'],
    properties: {
      number: { type: 'string' },
      customer: { type: 'object', required: ['name'] },
      lines: { type: 'array', items: { type: 'object', required: ['text', 'amount'] } },
    },
  },
  sampleData: {
    number: 'R-4711',
    date: '2026-11-23',
    due: '2026-12-23',
    customer: { name: 'Ünal & Söhne', address: ['Goethestraße 7', '60313 Frankfurt am Main', 'Germany'] },
    lines: [
      { text: 'Laid paper, A4, 120 g', quantity: 12, price: '8.40', amount: '100.80' },
      { text: 'Card, ivory, A5, 300 g', quantity: 20, price: '3.25', amount: '65.00', note: 'Cut to size' },
      { text: 'Ink, black, 1 l', quantity: 2, price: '34.00', amount: '68.00' },
    ],
    currency: 'EUR',
    total: '233.80',
  },
}

/** Next to nothing. */
export const blank: TemplateContentInput = {
  html: `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>{{ title | escape }}</title>
</head>
<body>
  <h1>{{ title | escape }}</h1>
</body>
</html>
`,
  css: 'body { margin: 0; font: 11pt/1.5 sans-serif }\n',
  page: { format: 'A4', marginTop: '20mm', marginRight: '20mm', marginBottom: '20mm', marginLeft: '20mm' },
  sampleData: { title: 'Hello' },
}
