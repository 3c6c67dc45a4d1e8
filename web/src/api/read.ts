import { useRef } from 'react'
import { useQuery, type AnyVariables, type UseQueryArgs, type UseQueryResponse } from 'urql'

/**
 * urql's useQuery, which in addition keeps what was read when it cannot be read anew: a
 * connection that is lost empties no screen. The error is told beside it.
 */
export function useRead<Data, Variables extends AnyVariables>(args: UseQueryArgs<Variables, Data>): UseQueryResponse<Data, Variables> {
  const [result, again] = useQuery(args)
  const of = JSON.stringify(args.variables)
  const last = useRef<{ of: string | undefined; data: Data }>(undefined)
  if (result.data) last.current = { of, data: result.data }
  const kept = result.error && !result.data && last.current?.of === of ? last.current.data : result.data
  return [{ ...result, data: kept }, again]
}
