package renderer

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-rod/rod/lib/proto"

	"platen"
)

// asFloor makes the test binary be the floor of `make bench`: the least work that makes new
// documents, by a Chromium that was started as the product's is, with its sandbox, proxy and flags. Other
// rooms' measurements talk to it over its standard input and output, a JSON object for each request and answer.
const asFloor = "RENDERER_BENCH_FLOOR"

// floorRequest asks for Count documents of the HTML, on so many Tabs at once. In a tab that is not Fresh, one
// document takes the place of another; else each has a context of its own.
type floorRequest struct {
	HTML        string
	Tabs, Count int
	Fresh       bool
}

// floorAnswer is how many documents a second it were, and the size of one in bytes.
type floorAnswer struct {
	PerSecond float64
	Bytes     int
	Error     string
}

func serveFloor(in io.Reader, out io.Writer) error {
	f := floor{tabs: map[int]*page{}}
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var request floorRequest
		if err := requests.Decode(&request); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer, err := f.measure(request)
		if err != nil {
			answer.Error = err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

type floor struct{ tabs map[int]*page }

func (f *floor) measure(request floorRequest) (answer floorAnswer, err error) {
	parameters, err := printParameters(Page{HTML: request.HTML, Settings: platen.DefaultPageSettings()})
	if err != nil {
		return answer, err
	}
	browser, err := shared.alive(context.Background())
	if err != nil {
		return answer, err
	}
	fresh := func() (*page, error) {
		return newPage(context.Background(), browser, owner{account: "floor", scripts: true})
	}
	for tab := range request.Tabs {
		if f.tabs[tab] == nil && !request.Fresh {
			if f.tabs[tab], err = fresh(); err != nil {
				return answer, err
			}
		}
	}
	var left, size atomic.Int64
	left.Store(int64(request.Count))
	var all sync.WaitGroup
	var failed atomic.Value
	start := time.Now()
	for tab := range request.Tabs {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				p, err := f.tabs[tab], error(nil)
				if request.Fresh {
					p, err = fresh()
				}
				var file []byte
				if err == nil {
					file, err = p.setAndPrint(context.Background(), request.HTML, parameters)
				}
				if err != nil {
					failed.Store(err)
					return
				}
				if request.Fresh {
					p.dispose()
				}
				size.Store(int64(len(file)))
			}
		})
	}
	all.Wait()
	answer.PerSecond, answer.Bytes = float64(request.Count)/time.Since(start).Seconds(), int(size.Load())
	err, _ = failed.Load().(error)
	return answer, err
}

// setAndPrint is the least work that makes a new document.
func (p *page) setAndPrint(ctx context.Context, html string, parameters map[string]any) ([]byte, error) {
	tab := p.at(ctx)
	if err := (proto.PageSetDocumentContent{FrameID: p.frame, HTML: html}).Call(tab); err != nil {
		return nil, err
	}
	if err := p.waitForLoad(ctx); err != nil {
		return nil, err
	}
	return p.print(tab, &job{print: parameters})
}

func runFloor() int {
	if err := serveFloor(os.Stdin, os.Stdout); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}
