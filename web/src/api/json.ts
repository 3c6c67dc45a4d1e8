type Parse = (text: string, reviver: (key: string, value: unknown, context?: { source?: string }) => unknown) => unknown

/**
 * The value of a JSON text. Platen keeps the digits of numbers, but a browser rounds those that
 * have too many: such a number is refused here, rather than printed as another one.
 */
export function parseExactly(text: string): unknown {
  return (JSON.parse as Parse)(text, (_, value, context) => {
    const source = (typeof value === 'number' && context?.source) || ''
    const digits = source.replace(/[eE].*|\D/g, '').replace(/^0+|0+$/g, '')
    if (digits.length > 15 && String(value) !== source) throw new Error(`${source} has more digits than a browser keeps; put it into quotes, or send it by the API`)
    return value
  })
}
