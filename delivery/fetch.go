package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"platen"
)

const (
	// fetchTime bounds the fetching of one file, redirects included.
	fetchTime = time.Minute
	// maxRedirects is how many redirects are followed on the way to a file.
	maxRedirects = 5
)

// Fetcher brings files from customers' servers. It is safe for concurrent use.
type Fetcher struct {
	http *http.Client
}

// NewFetcher makes a Fetcher.
func NewFetcher(o Options) *Fetcher {
	if o.AnswerTimeout == 0 {
		o.AnswerTimeout = fetchTime
	}
	client := newClient(o)
	// What is fetched is nobody's secret yet, so a redirect does no harm: each of its
	// hosts is judged as the first one is.
	client.CheckRedirect = func(next *http.Request, before []*http.Request) error {
		if len(before) > maxRedirects {
			return errRedirects
		}
		if next.URL.Scheme != "http" && next.URL.Scheme != "https" {
			return errScheme
		}
		next.Header.Del("Referer") // it would hold the whole address
		return nil
	}
	client.Timeout = fetchTime
	return &Fetcher{http: client}
}

var (
	errRedirects = fmt.Errorf("it redirects more than %d times", maxRedirects)
	errScheme    = errors.New("it redirects to something that is no web address")
)

// Close gives up idle connections.
func (f *Fetcher) Close() { f.http.CloseIdleConnections() }

// Fetch writes the file at an address, of at most limit bytes, and tells its size. The
// error is a *platen.Failure of the stage COMBINE that says no more of the address than
// its host, or ctx's own, or that of the writer.
func (f *Fetcher) Fetch(ctx context.Context, address string, limit int64, into io.Writer) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, unfetched(fail(platen.FailureSourceUnavailable, false, "The address is none that can be called."))
	}
	host := request.URL.Host
	request.Header.Set("User-Agent", "platen")
	request.Header.Set("Accept", "application/pdf, */*;q=0.1")
	response, err := f.http.Do(request)
	if err != nil {
		return 0, notFetched(ctx, err, host)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		failure := fail(platen.FailureSourceUnavailable, isTransient(response.StatusCode), fmt.Sprintf("%s answered with HTTP %d instead of the file.", host, response.StatusCode))
		failure.Details, _ = json.Marshal(map[string]any{"httpStatus": response.StatusCode})
		return 0, unfetched(failure)
	}
	tooLarge := unfetched(fail(platen.FailureSourceTooLarge, false, fmt.Sprintf("The file at %s is larger than the %d bytes that it may have here.", host, limit)))
	if response.ContentLength > limit {
		return 0, tooLarge
	}
	size, broken, err := Take(into, io.LimitReader(response.Body, limit+1))
	switch {
	case broken != nil:
		return 0, notFetched(ctx, broken, host)
	case err != nil:
		return 0, err
	case size > limit:
		return 0, tooLarge
	}
	return size, nil
}

// Take copies what comes from outside, and tells its size. broken is why it did not come
// whole, err why it could not be kept.
func Take(into io.Writer, from io.Reader) (size int64, broken, err error) {
	source := &arriving{Reader: from}
	if size, err = io.Copy(into, source); source.failed != nil {
		return size, source.failed, nil
	}
	return size, nil, err
}

// arriving is a reader that remembers that it failed.
type arriving struct {
	io.Reader
	failed error
}

func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err != nil && err != io.EOF {
		a.failed = err
	}
	return n, err
}

// notFetched says what went wrong before the whole file was there.
func notFetched(ctx context.Context, err error, host string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error // its text has the whole address
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, errRedirects) || errors.Is(err, errScheme) {
		return unfetched(fail(platen.FailureSourceUnavailable, false, fmt.Sprintf("The file at %s cannot be fetched: %s.", host, err)))
	}
	return unfetched(unanswered(err, host, advice{remedy: "Correct the address, then combine again.", then: "combine again"}))
}

// unfetched makes a failure one of combining.
func unfetched(failure *platen.Failure) *platen.Failure {
	failure.Stage = platen.StageCombine
	if failure.Code == platen.FailureNotAnS3Endpoint {
		failure.Code = platen.FailureSourceUnavailable
	}
	return failure
}
