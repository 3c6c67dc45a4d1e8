package sandbox

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// Whatever a worker sends, the parent reads an answer of at most what the limits say, or
// gives it up; an answer says one thing.
func FuzzAWorkersAnswerIsBounded(f *testing.F) {
	for _, seed := range [][]byte{nil, {0}, {0, 0, 1, 0, 0, 0, 'x'}, {1, 1, 2, 0, 0, 0, 'n', 'o'}, {2, 0, 0, 0, 0, 0}, {9, 9, 0, 0, 0, 0}, {0, 0, 0xff, 0xff, 0xff, 0xff}, {0, 0, 5, 0, 0, 0, 'x'}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		limits := Limits{Output: 1 << 10}
		w := &worker{out: io.NopCloser(bytes.NewReader(sent))}
		a, err := w.receive(limits)
		if err != nil {
			return
		}
		if len(a.body) > maxMessage || len(a.body)+headerSize > len(sent) {
			t.Errorf("%d bytes of %d", len(a.body), len(sent))
		}
		output, err := a.unpack()
		var limit *LimitError
		var failure *FunctionError
		if err == nil != (a.status == succeeded) || err != nil && (output != nil || !errors.As(err, &limit) && !errors.As(err, &failure)) {
			t.Errorf("%v: %q, %v", a, output, err)
		}
	})
}

// What a function does with any request becomes an answer that the parent takes.
func FuzzAnyRequestHasAnAnswer(f *testing.F) {
	f.Add([]byte("panic"), 10)
	f.Add([]byte("error: "+string(make([]byte, 10_000))), 10)
	f.Add([]byte("long"), 2)
	f.Fuzz(func(t *testing.T, request []byte, most int) {
		a := run(func(in []byte) ([]byte, error) {
			switch {
			case bytes.HasPrefix(in, []byte("panic")):
				panic(string(in) + "\nstack")
			case bytes.HasPrefix(in, []byte("error")):
				return nil, errors.New(string(in))
			}
			return in, nil
		}, request, most)
		if a.status != succeeded && len(a.body) > maxMessage || a.status == succeeded && len(a.body) > most {
			t.Errorf("status %d, %d bytes", a.status, len(a.body))
		}
	})
}
