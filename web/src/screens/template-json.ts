// JSON as people type it: where exactly it is wrong, and where in it a pointer points.

export interface Place {
  /** From 1. */
  line: number
  /** In characters, from 1, as the API counts. */
  column: number
}

/** The place of an offset into a text. */
export function placeOf(text: string, offset: number): Place {
  const before = text.slice(0, offset)
  const start = before.lastIndexOf('\n') + 1
  return { line: before.split('\n').length, column: [...before.slice(start)].length + 1 }
}

export type Read = { value: unknown; mistake?: undefined } | { value?: undefined; mistake: Place & { message: string } }

/** Reads a text; one without anything in it is null. */
export function readJson(text: string): Read {
  if (!text.trim()) return { value: null }
  try {
    return { value: JSON.parse(text) }
  } catch (error) {
    // Each browser words it in its own way and some do not say where, so it is looked for here.
    const found = scan(text)
    return { mistake: { message: found?.message ?? (error as Error).message, ...placeOf(text, found?.at ?? 0) } }
  }
}

/** Where the value is that an RFC 6901 pointer names, or the innermost one around it that is there. */
export function placeOfPointer(text: string, pointer: string): Place {
  const best = { length: -1, at: 0 }
  scan(text, (path, at) => {
    if ((pointer === path || pointer.startsWith(path + '/')) && path.length > best.length) Object.assign(best, { length: path.length, at })
  })
  return placeOf(text, best.at)
}

/** The first number that loses digits in a browser, which counts with 53 bits. */
export function lossyNumber(text: string): (Place & { digits: string }) | undefined {
  if (!/\d{16}/.test(text)) return
  let found: { at: number; digits: string } | undefined
  scan(
    text,
    () => {},
    (digits, at) => {
      if (!found && digits.replace(/^-|\.|[eE].*$/g, '').replace(/^0+/, '').length > 15 && !Number.isSafeInteger(Number(digits))) found = { at, digits }
    },
  )
  return found && { ...placeOf(text, found.at), digits: found.digits }
}

class Mistake extends Error {
  constructor(
    message: string,
    readonly at: number,
  ) {
    super(message)
  }
}

const escaped = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1')

// Goes through a text, tells each value's pointer and place, and answers with the first mistake.
function scan(text: string, each: (pointer: string, at: number) => void = () => {}, number: (digits: string, at: number) => void = () => {}): Mistake | undefined {
  let i = 0
  const shown = () => (i < text.length ? `"${String.fromCodePoint(text.codePointAt(i)!)}"` : 'the end')
  const fail = (message: string, at = i): never => {
    throw new Mistake(message, at)
  }
  const space = () => {
    while (i < text.length && ' \t\n\r'.includes(text[i]!)) i++
  }
  const string = (): string => {
    const start = i
    for (i++; text[i] !== '"'; i++) {
      if (i >= text.length || text[i] === '\n') fail('This text is not closed: a " is missing.', start)
      if (text[i]! < ' ') fail('A tab or another control character inside a text is written with a backslash: \\t.')
      if (text[i] !== '\\') continue
      i++
      if (text[i] === 'u' ? !/^[0-9a-fA-F]{4}/.test(text.slice(i + 1, i + 5)) : !'"\\/bfnrt'.includes(text[i] ?? ' '))
        fail('After a backslash comes one of " \\ / b f n r t, or u with four digits.', i - 1)
    }
    i++
    return JSON.parse(text.slice(start, i)) as string
  }
  const value = (pointer: string): void => {
    space()
    each(pointer, i)
    const c = text[i]
    if (c === '{') {
      i++
      space()
      if (text[i] === '}') return void i++
      for (;;) {
        space()
        if (text[i] === '}') fail('A comma before the closing } is one too many.', text.lastIndexOf(',', i))
        if (text[i] !== '"') fail(`Here belongs a name in "quotes", but there is ${shown()}.`)
        const key = string()
        space()
        if (text[i] !== ':') fail(`After the name "${key}" belongs a colon, but there is ${shown()}.`)
        i++
        value(`${pointer}/${escaped(key)}`)
        space()
        if (text[i] === '}') return void i++
        if (text[i] !== ',') fail(`After a value belongs a comma or }, but there is ${shown()}.`)
        i++
      }
    }
    if (c === '[') {
      i++
      space()
      if (text[i] === ']') return void i++
      for (let n = 0; ; n++) {
        space()
        if (n && text[i] === ']') fail('A comma before the closing ] is one too many.', text.lastIndexOf(',', i))
        value(`${pointer}/${n}`)
        space()
        if (text[i] === ']') return void i++
        if (text[i] !== ',') fail(`After a value belongs a comma or ], but there is ${shown()}.`)
        i++
      }
    }
    if (c === '"') return void string()
    if (c === "'") fail('Texts are written in "double quotes".')
    const word = /^[-+.\w]+/.exec(text.slice(i, i + 400))?.[0] ?? ''
    if (['true', 'false', 'null'].includes(word)) return void (i += word.length)
    if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(word)) {
      number(word, i)
      return void (i += word.length)
    }
    if (/^[-+.]?\d/.test(word)) fail(`${word} is not a number as JSON writes it: digits, with a point before decimals and no zero in front.`)
    fail(word ? `${word} means nothing in JSON: put texts in "quotes".` : `Here belongs a value, but there is ${shown()}.`)
  }
  try {
    value('')
    space()
    if (i < text.length) fail(`The JSON ends before here, but there is ${shown()} more.`)
  } catch (error) {
    if (error instanceof Mistake) return error
    throw error
  }
}
