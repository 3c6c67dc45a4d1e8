package renderer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"

	"platen"

	"github.com/go-rod/rod/lib/proto"
)

// checkAddress says what is wrong with the address of a page, before the browser is
// asked: it would open files of this machine and pages of its own.
func checkAddress(address string) *platen.Failure {
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return nil
	}
	return assetFailure([]asset{{URL: withoutQuery(address), Type: string(proto.NetworkResourceTypeDocument), Error: "it is not a full http or https address"}}, "")
}

// travel follows the loading of a page at an address. Its redirects by refresh and
// by script are part of the way.
type travel struct {
	loading atomic.Bool
	due     atomic.Bool // a refresh or a script has asked for another page
	changed chan struct{}
}

// event takes the events of a frame's loading.
func (t *travel) event(document proto.PageFrameID, method string, params json.RawMessage) {
	var of struct {
		FrameID proto.PageFrameID
		Delay   float64 // seconds
	}
	if json.Unmarshal(params, &of) != nil || of.FrameID != document {
		return
	}
	switch method {
	case "Page.frameStartedLoading":
		// What was due begins. Chromium does not always say that it is cleared.
		t.loading.Store(true)
		t.due.Store(false)
	case "Page.frameStoppedLoading":
		t.loading.Store(false)
	case "Page.frameScheduledNavigation":
		t.due.Store(of.Delay < 1) // a page that shows itself for longer is one to print
	case "Page.frameClearedScheduledNavigation":
		t.due.Store(false)
	}
	signal(t.changed)
}

// rest waits until nothing more is loading.
func (t *travel) rest(ctx context.Context) error {
	for t.loading.Load() || t.due.Load() {
		select {
		case <-t.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// visit goes to the address and makes the file of the page where it ends up.
func (p *page) visit(tab session, j *job) ([]byte, error) {
	p.travel.loading.Store(true)
	answer, err := tab.call(tab.ctx, p.session, "Page.navigate", proto.PageNavigate{URL: j.address})
	if err != nil {
		return nil, err
	}
	var navigated struct {
		ErrorText  string
		IsDownload bool
	}
	if err := json.Unmarshal(answer, &navigated); err != nil {
		return nil, err
	}
	if navigated.ErrorText != "" {
		return nil, p.notReached(j, navigated.ErrorText, navigated.IsDownload)
	}
	for {
		left := p.left.Load()
		j.doing("loading the page")
		if err := p.travel.rest(tab.ctx); err != nil {
			return nil, err
		}
		if document := p.assets.visited(j.proxy); document.failed {
			return nil, assetFailure([]asset{document}, j.proxy.Setting())
		}
		file, err := p.arrived(tab, j)
		// One that went on meanwhile is printed where it ends up.
		if p.left.Load() == left || tab.ctx.Err() != nil {
			return file, err
		}
	}
}

// arrived makes the file of the page at which a visit has arrived.
func (p *page) arrived(tab session, j *job) ([]byte, error) {
	if j.print != nil && j.print["preferCSSPageSize"] == false {
		world, err := p.world(tab)
		if err != nil {
			return nil, err
		}
		// As the markup of other documents says it. A sheet made like this needs no
		// leave of the page's Content-Security-Policy.
		if _, err := (proto.RuntimeEvaluate{ContextID: world, Expression: "const sheet = new CSSStyleSheet(); sheet.replaceSync('" + autoPage +
			"'); document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]; 1"}).Call(tab); err != nil {
			return nil, err
		}
	}
	return p.finish(tab, j)
}

// notReached is the failure of an address at which there is no page.
func (p *page) notReached(j *job, reason string, isDownload bool) *platen.Failure {
	document := p.assets.visited(j.proxy)
	switch {
	case document.failed:
	case isDownload:
		document.Error = fmt.Sprintf("it is no page but a file to download (%s)", document.media)
	case document.status == http.StatusNoContent || document.status == http.StatusResetContent:
		document.Error = fmt.Sprintf("the answer has no content (HTTP status %d)", document.status)
	default:
		document.Error = reason
	}
	if document.URL == "" {
		document.URL, document.Type = withoutQuery(j.address), string(proto.NetworkResourceTypeDocument)
	}
	return assetFailure([]asset{document}, j.proxy.Setting())
}
