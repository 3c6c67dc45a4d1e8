package main

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// T1: a template says that its pages need nothing, and then they get nothing, whoever sends
// what data.
func TestR2_3ATemplateWithoutNetworkLoadsNothing(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var hits atomic.Int64
	page := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hits.Add(1) }))
	page.open()
	template := c.createTemplate(vars{"name": "T", "content": vars{"html": "<p>INVOICE</p>{{ name }}", "page": vars{"network": false}}}).ID
	hostile := vars{"name": "<img src=" + page.URL + "/?stolen>"}
	doc := c.submit(vars{"templateId": template, "data": hostile})
	if doc.State != "FAILED" || doc.Failure.Stage != "ASSET" || doc.Failure.Code != "EGRESS_DENIED" || !strings.Contains(doc.Failure.Message, "network: false") {
		t.Errorf("an image from data: %v", doc)
	}
	if doc := c.submit(vars{"templateId": template, "data": vars{"name": "Ann"}}); doc.State != "PROCESSED" {
		t.Errorf("a page that needs nothing: %v", doc)
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests", hits.Load())
	}
	// The caller of the API may say otherwise, as of all page settings.
	c.submit(vars{"templateId": template, "data": hostile, "page": vars{"network": true}})
	if hits.Load() != 1 {
		t.Errorf("%d requests of one", hits.Load())
	}
	refused := c.refused(c.live, vars{"url": page.URL, "page": vars{"network": false}})
	if len(refused) != 1 || refused[0].Code != "INVALID" || !slices.Equal(refused[0].Path, []string{"input", "page", "network"}) {
		t.Errorf("a page at an address without network: %+v", refused)
	}
}
