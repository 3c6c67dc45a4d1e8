// npm test: bundled first, as node 20 reads no TypeScript, then run by node's own test runner.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { delimiterOf, parseCsv, partsOf, tableOfCsv, tableOfJson, textOf } from './csv'

const plain = (value: unknown) => JSON.parse(JSON.stringify(value))
const fields = (text: string, delimiter: ',' | ';' | '\t' = ',') => parseCsv(text, delimiter).records.map((r) => r.fields)
const options = { delimiter: ',' as const, numbers: false, metadata: new Set<string>() }

test('quotes hold delimiters, line breaks and quotes', () => {
  assert.deepEqual(fields('a,b\r\n"1,2","say ""hi""\r\nthere"\r\n'), [['a', 'b'], ['1,2', 'say "hi"\r\nthere']])
  assert.deepEqual(fields('"",x\n'), [['', 'x']])
  assert.deepEqual(fields('a,\n,b'), [['a', ''], ['', 'b']])
})

test('lines end with LF, CRLF or CR, and the last one need not', () => {
  for (const end of ['\n', '\r\n', '\r']) assert.deepEqual(fields(['a,b', '1,2'].join(end)), [['a', 'b'], ['1', '2']])
})

test('a byte order mark and blank lines are no data', () => {
  assert.deepEqual(fields('\uFEFFa\n\n1\n\n'), [['a'], ['1']])
})

test('records know the line that they begin at', () => {
  assert.deepEqual(parseCsv('a\n"x\ny"\nz', ',').records.map((r) => r.line), [1, 2, 4])
  assert.deepEqual(parseCsv('a\r\n"x\r\ny"\r\nz', ',').records.map((r) => r.line), [1, 2, 4])
})

test('a quote in a wrong place is a mistake with its line', () => {
  assert.deepEqual(parseCsv('a\n"x', ',').mistakes[0]?.line, 2)
  assert.deepEqual(parseCsv('a\nb\n"x"y', ',').mistakes[0]?.line, 3)
  assert.deepEqual(fields('5" pipe,x'), [['5" pipe', 'x']], 'within an unquoted field it is a character as any other')
})

test('the delimiter is the one that the header has most of', () => {
  assert.equal(delimiterOf('a;b;c\n1,2;3;4'), ';')
  assert.equal(delimiterOf('a\tb,c\td'), '\t')
  assert.equal(delimiterOf('"a;b;c",d'), ',')
  assert.equal(delimiterOf('alone'), ',')
})

test('the header names fields, and dots nest them', () => {
  const { rows, mistakes } = tableOfCsv('number,customer.name,customer.address.city\n007,ACME,Rome', options)
  assert.deepEqual(mistakes, [])
  assert.deepEqual(plain(rows), [{ data: { number: '007', customer: { name: 'ACME', address: { city: 'Rome' } } }, line: 2 }])
})

test('numbers stay text unless they are asked for, and only JSON numbers are numbers', () => {
  const text = 'a,b,c,d,e\n1,-2.5,007,"1,5",\n'
  assert.deepEqual(plain(tableOfCsv(text, options).rows[0]?.data), { a: '1', b: '-2.5', c: '007', d: '1,5', e: '' })
  assert.deepEqual(plain(tableOfCsv(text, { ...options, numbers: true }).rows[0]?.data), { a: 1, b: -2.5, c: '007', d: '1,5', e: '' })
  assert.deepEqual(plain(tableOfCsv('iban\n12345678901234567890', { ...options, numbers: true }).rows[0]?.data), { iban: '12345678901234567890' })
})

test('any name may be a column', () => {
  const { rows } = tableOfCsv('__proto__,constructor.prototype\n1,2', options)
  assert.equal(JSON.stringify(rows[0]?.data), '{"__proto__":"1","constructor":{"prototype":"2"}}')
})

test('columns can be metadata as well', () => {
  const { rows } = tableOfCsv('id,x\n7,y', { ...options, metadata: new Set(['id']) })
  assert.deepEqual(plain(rows), [{ data: { id: '7', x: 'y' }, metadata: { id: '7' }, line: 2 }])
})

test('mistakes of the header and of rows have their line', () => {
  assert.match(tableOfCsv('a,a\n1,2', options).mistakes[0]!.message, /two columns/)
  assert.match(tableOfCsv('a,\n1,2', options).mistakes[0]!.message, /no name/)
  assert.match(tableOfCsv('a,a.b\n1,2', options).mistakes[0]!.message, /fields of its own/)
  assert.deepEqual(
    tableOfCsv('a,b\n1,2\n3\n4,5,6', options).mistakes.map((m) => m.line),
    [3, 4],
  )
})

test('JSON is an array of data, or of data and metadata', () => {
  assert.deepEqual(tableOfJson('[{"a":1},{"data":{"a":2},"metadata":{"b":3}},{"data":1,"other":2}]').rows, [
    { data: { a: 1 }, line: 1 },
    { data: { a: 2 }, metadata: { b: 3 }, line: 2 },
    { data: { data: 1, other: 2 }, line: 3 },
  ])
  assert.equal(tableOfJson('{').mistakes.length, 1)
  assert.equal(tableOfJson('{}').mistakes.length, 1)
  assert.equal(tableOfJson('[1,{"data":{},"metadata":[]}]').mistakes.length, 2)
})

test('bytes that are not UTF-8 are taken for those of an old spreadsheet', () => {
  assert.equal(textOf(new Uint8Array([0xc3, 0xa4]).buffer).text, 'ä')
  assert.deepEqual(textOf(new Uint8Array([0xe4]).buffer), { text: 'ä', encoding: 'windows-1252' })
  assert.equal(textOf(new Uint8Array([0xff, 0xfe, 0x61, 0]).buffer).text, 'a')
  assert.equal(textOf(new ArrayBuffer(0)).text, '')
})

test('rows go out in parts of a number and a size', () => {
  const rows = Array.from({ length: 2500 }, (_, i) => ({ data: { i }, line: i }))
  assert.deepEqual(partsOf(rows, 1000, 1e6).map((p) => p.length), [1000, 1000, 500])
  assert.ok(partsOf(rows, 1000, 2000).length > 50)
  assert.deepEqual(partsOf([], 1000, 1e6), [])
})
