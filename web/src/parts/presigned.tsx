// A presigned URL: an address with a signature, to which the file is PUT.
import type { Problem } from '../api/client'
import type { PresignedUploadInput } from '../api/generated'
import { about, Field, Input, others } from './parts'

export interface Presigned {
  url: string
  /** As people write them: a line for each, "Name: value". */
  headers: string
}

export const noPresigned: Presigned = { url: '', headers: '' }

/** As the API takes it; undefined where none is given. */
export function presignedInput({ url, headers }: Presigned): PresignedUploadInput | undefined {
  if (!url.trim()) return undefined
  const lines = headers.split('\n').filter((line) => line.trim())
  return {
    url: url.trim(),
    headers: lines.length
      ? lines.map((line) => {
          const colon = line.indexOf(':')
          return { name: (colon < 0 ? line : line.slice(0, colon)).trim(), value: colon < 0 ? '' : line.slice(colon + 1).trim() }
        })
      : undefined,
  }
}

export function PresignedFields({ value, onChange, problems, at, required }: { value: Presigned; onChange: (value: Presigned) => void; problems: Problem[]; at: string[]; required?: boolean }) {
  return (
    <>
      <Input
        label="Presigned URL"
        type="url"
        inputMode="url"
        required={required}
        placeholder="https://"
        value={value.url}
        onInput={(e) => onChange({ ...value, url: e.currentTarget.value })}
        errors={about(others(problems, [...at, 'headers']), ...at)}
        hint="Signed for one PUT. The file is sent there once it is processed; the signature is never shown again."
      />
      <Field label="Headers that were signed" errors={about(problems, ...at, 'headers')} hint="One a line, such as x-ms-blob-type: BlockBlob. Empty, unless your storage needs them.">
        {(given) => <textarea rows={2} spellCheck={false} value={value.headers} onInput={(e) => onChange({ ...value, headers: e.currentTarget.value })} {...given} />}
      </Field>
    </>
  )
}
