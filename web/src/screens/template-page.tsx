import { useId } from 'react'
import type { PaperFormat } from '../api/generated'
import { Check, Input, Select } from '../parts/parts'
import type { Mistake, Page } from './template-content'

const papers: [Page['paper'], string][] = [
  ['A4', 'A4 – 210 × 297 mm'],
  ['LETTER', 'Letter – 8.5 × 11 in'],
  ['LEGAL', 'Legal – 8.5 × 14 in'],
  ['TABLOID', 'Tabloid – 11 × 17 in'],
  ['LEDGER', 'Ledger – 17 × 11 in'],
  ['A0', 'A0 – 841 × 1189 mm'],
  ['A1', 'A1 – 594 × 841 mm'],
  ['A2', 'A2 – 420 × 594 mm'],
  ['A3', 'A3 – 297 × 420 mm'],
  ['A5', 'A5 – 148 × 210 mm'],
  ['A6', 'A6 – 105 × 148 mm'],
  ['CUSTOM', 'Own width and height'],
] satisfies [PaperFormat | 'CUSTOM', string][]

/** The page settings as a form, with what is wrong beside each field. */
export function PageForm({ page, onChange, mistakes, disabled }: { page: Page; onChange: (page: Page) => void; mistakes: Mistake[]; disabled: boolean }) {
  const set = (change: Partial<Page>) => onChange({ ...page, ...change })
  const wrong = (...fields: string[]) => mistakes.filter((m) => m.part === 'page' && fields.includes(m.field ?? '')).map((m) => m.message)
  const text = (field: 'width' | 'height' | 'marginTop' | 'marginRight' | 'marginBottom' | 'marginLeft' | 'scale' | 'pageRanges' | 'timeout') => ({
    value: page[field],
    errors: wrong(field),
    onChange: (e: { currentTarget: HTMLInputElement }) => set({ [field]: e.currentTarget.value }),
    'data-field': field,
  })
  const general = mistakes.filter((m) => m.part === 'page' && !m.field).map((m) => m.message)
  const id = useId()
  return (
    <fieldset className="bare page-form" disabled={disabled} aria-label="Page settings">
      {general.length > 0 && (
        <div role="alert" className="problems">
          {general.map((message) => (
            <p key={message}>{message}</p>
          ))}
        </div>
      )}
      <section aria-labelledby={id + 'paper'}>
        <h2 id={id + 'paper'}>Paper</h2>
        <div className="grid">
          <Select label="Size" value={page.paper} options={papers} errors={wrong('format')} onChange={(paper) => set({ paper })} data-field="format" />
          <Select
            label="Orientation"
            value={page.orientation}
            options={[
              ['PORTRAIT', 'Portrait: as it is'],
              ['LANDSCAPE', 'Landscape: turned'],
            ]}
            errors={wrong('orientation')}
            onChange={(orientation) => set({ orientation })}
            data-field="orientation"
          />
          {page.paper === 'CUSTOM' && (
            <>
              <Input label="Width" placeholder="210mm" {...text('width')} />
              <Input label="Height" placeholder="297mm" {...text('height')} />
            </>
          )}
        </div>
        <Check label="An @page size in the CSS wins" checked={page.preferCssPageSize} onChange={(preferCssPageSize) => set({ preferCssPageSize })} />
      </section>
      <section aria-labelledby={id + 'margins'}>
        <h2 id={id + 'margins'}>Margins</h2>
        <p className="hint">CSS lengths, such as 20mm or 0.75in. Header and footer are printed in them. Empty: 0.4in.</p>
        <div className="grid four">
          <Input label="Top" placeholder="0.4in" {...text('marginTop')} />
          <Input label="Right" placeholder="0.4in" {...text('marginRight')} />
          <Input label="Bottom" placeholder="0.4in" {...text('marginBottom')} />
          <Input label="Left" placeholder="0.4in" {...text('marginLeft')} />
        </div>
      </section>
      <section aria-labelledby={id + 'printing'}>
        <h2 id={id + 'printing'}>Printing</h2>
        <div className="grid">
          <Input label="Scale" hint="0.1 to 2" inputMode="decimal" placeholder="1" {...text('scale')} />
          <Input label="Pages" hint="Such as 1-3, 5, 8-. Empty: all." {...text('pageRanges')} />
          <Select
            label="CSS media"
            value={page.media}
            options={[
              ['PRINT', 'print'],
              ['SCREEN', 'screen'],
            ]}
            errors={wrong('media')}
            onChange={(media) => set({ media })}
            data-field="media"
          />
        </div>
        <Check label="Print backgrounds" hint="Colours and images behind the text." checked={page.printBackground} onChange={(printBackground) => set({ printBackground })} />
        <Check label="Bookmarks from the headings" hint="They make the PDF accessible as well." checked={page.outline} onChange={(outline) => set({ outline })} />
        <Check label="Accessible (tagged) PDF" hint="Larger, and slower to make." checked={page.tagged} onChange={(tagged) => set({ tagged })} />
      </section>
      <section aria-labelledby={id + 'waiting'}>
        <h2 id={id + 'waiting'}>Scripts and waiting</h2>
        <Check label="Run JavaScript" hint="Markup without scripts is rendered without it either way, which is faster." checked={page.javaScript} onChange={(javaScript) => set({ javaScript })} />
        <Check label="Load from the network" hint="Off: the document is made of what the template brings along, and nothing leaves it." checked={page.network} onChange={(network) => set({ network })} />
        <Check label="Wait until the network is idle" hint="No request for half a second." checked={page.networkIdle} onChange={(networkIdle) => set({ networkIdle })} />
        <Input
          label="Wait for an element"
          hint="A CSS selector, such as #chart.ready."
          className="code"
          value={page.selector}
          errors={wrong('waitFor')}
          onChange={(e) => set({ selector: e.currentTarget.value })}
          data-field="waitFor"
        />
        <Input
          label="Wait for an expression"
          hint="JavaScript that must become true, such as window.done. A promise is awaited."
          className="code"
          value={page.expression}
          onChange={(e) => set({ expression: e.currentTarget.value })}
        />
        <div className="grid">
          <Input label="Timeout in seconds" hint="Longest time for the whole render: 1 to 120." inputMode="numeric" placeholder="30" {...text('timeout')} />
        </div>
      </section>
    </fieldset>
  )
}
