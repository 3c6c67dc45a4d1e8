// Package egress decides what may be reached from here. A Guard dials for
// everything that leaves the process, and a Proxy carries the same judgement to a
// browser. Addresses are judged as they are dialled, after resolution, so that
// neither a spelling nor a changing DNS answer gets past. Public addresses are
// open; all others are refused unless the operator lists them.
package egress
