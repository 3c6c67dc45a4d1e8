package renderer

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"platen/egress"

	"github.com/go-rod/rod/lib/proto"
)

// maxAssets is how many addresses a failure lists.
const maxAssets = 20

// asset is one request of a document.
type asset struct {
	URL    string `json:"url"`
	Type   string `json:"type"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`

	number  int
	asked   string // after redirects, with the query
	status  int    // of the answer, 0: none yet
	media   string // media type of the answer
	refusal egress.Refusal
	failed  bool
	done    bool
}

// required tells whether a document is wrong without the asset.
func (a *asset) required() bool {
	switch proto.NetworkResourceType(a.Type) {
	case proto.NetworkResourceTypeImage, proto.NetworkResourceTypeStylesheet, proto.NetworkResourceTypeFont, proto.NetworkResourceTypeScript:
		return true
	}
	return false
}

// maxTracked bounds what a script that asks for ever can make us remember.
const maxTracked = 10_000

// assets follows the requests of one render: those under way, and the required
// ones that failed.
type assets struct {
	frame proto.PageFrameID // of the document itself
	// changed is told of each request that begins or ends.
	changed chan struct{}

	mu       sync.Mutex
	all      map[proto.NetworkRequestID]*asset
	number   int
	document *asset // the latest request for the document itself, of a page at an address
}

func (a *assets) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all, a.number, a.document = map[proto.NetworkRequestID]*asset{}, 0, nil
}

// event takes the events of the Network domain. Events of requests that began
// before the reset are of an earlier document, and nobody's.
func (a *assets) event(method string, params json.RawMessage) {
	switch method {
	case "Network.requestWillBeSent":
		var sent proto.NetworkRequestWillBeSent
		if json.Unmarshal(params, &sent) == nil && sent.Request != nil {
			a.sent(sent)
		}
	case "Network.responseReceived":
		var received proto.NetworkResponseReceived
		if json.Unmarshal(params, &received) == nil && received.Response != nil {
			a.answered(received.RequestID, received.Response.Status, received.Response.Headers)
		}
	case "Network.responseReceivedExtraInfo":
		// The only sign of the status of an answer that Chromium hides from the page,
		// as it does with an error page in place of an image.
		var received proto.NetworkResponseReceivedExtraInfo
		if json.Unmarshal(params, &received) == nil {
			a.answered(received.RequestID, received.StatusCode, received.Headers)
		}
	case "Network.loadingFinished":
		var finished proto.NetworkLoadingFinished
		if json.Unmarshal(params, &finished) == nil {
			a.done(finished.RequestID, "")
		}
	case "Network.loadingFailed":
		var failed proto.NetworkLoadingFailed
		if json.Unmarshal(params, &failed) != nil {
			return
		}
		reason := failed.ErrorText
		if failed.CorsErrorStatus != nil {
			reason = "CORS: " + string(failed.CorsErrorStatus.CorsError)
		}
		if failed.Canceled {
			reason = "" // the document changed its mind
		}
		a.done(failed.RequestID, reason)
	}
}

func (a *assets) sent(sent proto.NetworkRequestWillBeSent) {
	if strings.HasPrefix(sent.Request.URL, "data:") {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.entry(sent.RequestID)
	if one.URL == "" {
		one.URL, one.Type = withoutQuery(sent.Request.URL), string(sent.Type)
	}
	one.asked = sent.Request.URL
	if sent.Type == proto.NetworkResourceTypeDocument && sent.FrameID == a.frame {
		a.document = one
	}
	signal(a.changed)
}

// entry finds or makes the asset of a request. The lock must be held.
func (a *assets) entry(id proto.NetworkRequestID) *asset {
	one := a.all[id]
	if one == nil {
		one = &asset{number: a.number}
		if len(a.all) < maxTracked {
			a.number++
			a.all[id] = one
		}
	}
	return one
}

func (a *assets) answered(id proto.NetworkRequestID, status int, headers proto.NetworkHeaders) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// This can come before the news of the request itself.
	one := a.entry(id)
	one.status = status
	for name, value := range headers {
		switch {
		case strings.EqualFold(name, egress.Header):
			one.refusal = egress.Refusal(value.Str())
		case strings.EqualFold(name, "Content-Type"):
			one.media, _, _ = strings.Cut(value.Str(), ";")
		}
	}
	one.failed = one.failed || status >= 400
}

// done ends a request; reason is why it failed, "" if it did not.
func (a *assets) done(id proto.NetworkRequestID, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.all[id]
	if one == nil {
		return
	}
	one.done = true
	signal(a.changed)
	if reason != "" && !one.failed {
		one.failed, one.Error = true, reason
	}
	if !one.failed || !one.required() {
		delete(a.all, id)
	}
}

// failed are the required assets that did not load, in the order of asking.
func (a *assets) failed(proxy *egress.Proxy) []asset {
	isFailed := func(one *asset) bool { return one.failed && one.required() }
	failed := a.which(isFailed)
	// The status comes by another way than the failure, and may be a little later.
	for range 40 {
		if !slices.ContainsFunc(failed, func(one asset) bool { return one.Error == blockedByORB && one.status == 0 }) {
			break
		}
		time.Sleep(5 * time.Millisecond)
		failed = a.which(isFailed)
	}
	for i := range failed {
		failed[i].explain(proxy)
	}
	return failed
}

const (
	blockedByORB = "net::ERR_BLOCKED_BY_ORB"
	tunnelFailed = "net::ERR_TUNNEL_CONNECTION_FAILED"
)

// explain finds the cause of a failure behind what Chromium calls it.
func (a *asset) explain(proxy *egress.Proxy) {
	if a.refusal == "" && (a.Error == tunnelFailed || a.Error == blockedByORB && a.status == 0) {
		a.refusal = proxy.Refusal(hostport(a.asked))
	}
	switch {
	case a.refusal != "":
		a.Error = string(a.refusal)
	case a.status >= 400:
		a.Status, a.Error = a.status, ""
	case a.Error == blockedByORB:
		a.Status, a.Error = a.status, "the answer is not an image"
	}
}

// loading are the addresses that have not answered in full yet. What a page made itself
// (blob:) is nobody else's, and no reason to try again.
func (a *assets) loading() []string {
	var urls []string
	for _, one := range a.which(func(one *asset) bool { return !one.done && strings.HasPrefix(one.URL, "http") }) {
		urls = append(urls, one.URL)
	}
	return urls[:min(len(urls), maxAssets)]
}

// visited is the latest request for the document itself, explained.
func (a *assets) visited(proxy *egress.Proxy) asset {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.document == nil {
		return asset{}
	}
	one := *a.document
	if one.failed {
		one.explain(proxy)
	}
	return one
}

// idleTime is how long no request may begin, end or be under way for the network to
// count as idle.
const idleTime = 500 * time.Millisecond

// idle waits until the network is.
func (a *assets) idle(ctx context.Context) error {
	for {
		var quiet <-chan time.Time
		// A stream of events is open for as long as the page is.
		if len(a.which(func(one *asset) bool { return !one.done && one.Type != string(proto.NetworkResourceTypeEventSource) })) == 0 {
			quiet = time.After(idleTime)
		}
		select {
		case <-a.changed:
		case <-quiet:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (a *assets) which(want func(*asset) bool) []asset {
	a.mu.Lock()
	defer a.mu.Unlock()
	var those []asset
	for _, one := range a.all {
		if one.URL != "" && want(one) {
			those = append(those, *one)
		}
	}
	slices.SortFunc(those, func(x, y asset) int { return x.number - y.number })
	return those
}

// withoutQuery cuts what may be a secret: a signature, a password, a fragment.
func withoutQuery(address string) string {
	address, _, _ = strings.Cut(address, "#")
	address, _, _ = strings.Cut(address, "?")
	if u, err := url.Parse(address); err == nil && u.User != nil {
		u.User = nil
		address = u.String()
	}
	if len(address) > 500 {
		address = strings.ToValidUTF8(address[:500], "") + "…"
	}
	return address
}

func hostport(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
