package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// feedEntry is an entry of either feed.
type feedEntry struct {
	Typename string `json:"__typename"`
	Cursor   string
	Reason   string
	Document struct {
		Typename string `json:"__typename"`
		ID       string
		State    string
		Final    bool
		Actions  []struct{ State string }
	}
	Action struct{ ID, State string }
}

const feedFragments = `fragment entry on DocumentFeedEvent { __typename ... on FeedReady { cursor } ... on FeedReset { cursor reason }
	... on DocumentChange { cursor document { __typename id state final actions { state } } } }`

// feed reads n entries of a feed.
func (s *subscription) feed(n int) (entries []feedEntry) {
	s.t.Helper()
	for len(entries) < n {
		var got map[string]feedEntry
		if !s.next(&got) {
			s.t.Fatalf("the feed ended after %+v", entries)
		}
		for _, entry := range got {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (c *client) documentFeed(token, after, filter string) *subscription {
	c.t.Helper()
	return c.subscribe(token, `subscription ($after: String) { documentFeed(after: $after, filter: {`+filter+`}) { ...entry } }`+feedFragments, vars{"after": orNil(after)})
}

// said is what entries of the feed of documents say.
func said(entries []feedEntry) (lines []string) {
	for _, e := range entries {
		line := strings.TrimPrefix(e.Typename, "Feed") + e.Reason
		if e.Document.ID != "" {
			line = e.Document.ID[:3] + " " + e.Document.State
			for _, a := range e.Document.Actions {
				line += " " + a.State
			}
			if e.Document.Final {
				line += " final"
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestR7_1FeedsTellOfEveryDocumentAndActionFromACursorOn(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.integrate(newS3(t, "archive"), "archive", vars{"pathTemplates": vars{"submission": "{{ submission_id }}.pdf"}})
	var present struct {
		Account     struct{ FeedCursor string }
		Submissions struct{ TotalCount int }
	}
	c.do(`{ account { feedCursor } submissions { totalCount } }`, nil, &present)
	live := c.documentFeed(c.live, "", "")
	if got := said(live.feed(1)); !slices.Equal(got, []string{"Ready"}) {
		t.Errorf("first comes %q", got)
	}
	actions := c.subscribe(c.live, `subscription ($after: String!) { actionFeed(after: $after) { __typename ... on FeedReady { cursor } ... on ActionChange { cursor action { id state } } } }`,
		vars{"after": present.Account.FeedCursor})
	actions.feed(1)
	letter := c.template("Letter", "<p>x</p>")
	doc := c.create(c.live, vars{"templateId": letter, "metadata": vars{"customer": "acme"}})
	c.final(doc)
	whole := c.combine(c.live, vars{"sources": sourcesOf(doc)})
	c.finalCombined(c.live, whole.ID)
	if _, errs := c.expire(c.live, doc); len(errs) > 0 {
		t.Fatal(errs)
	}
	test := c.create(c.test, vars{"html": "<p>t</p>"})
	c.final(test)
	want := []string{"sub PENDING", "sub PROCESSED PENDING", "sub PROCESSED PROCESSED final", "com PENDING", "com PROCESSED final",
		"sub PROCESSED PROCESSED final", "sub PENDING", "sub PROCESSED final"}
	entries := live.feed(len(want))
	if got := said(entries); !slices.Equal(got, want) {
		t.Errorf("live:\n%q\nwant\n%q", got, want)
	}
	states := ""
	for _, e := range actions.feed(2) {
		states += e.Action.State + " "
	}
	if states != "PENDING PROCESSED " {
		t.Errorf("the feed of actions says %s", states)
	}
	// Whoever read the present and then subscribes after it, or comes back, misses nothing.
	for after, n := range map[string]int{present.Account.FeedCursor: 0, entries[2].Cursor: 3, entries[6].Cursor: 7} {
		if got := said(c.documentFeed(c.live, after, "").feed(1 + len(want) - n)); !slices.Equal(got, append([]string{"Ready"}, want[n:]...)) {
			t.Errorf("after entry %d: %q", n, got)
		}
	}
	for filter, n := range map[string][]int{
		`kind: SUBMISSION`:                       {0, 1, 2, 5, 6, 7},
		`kind: COMBINED_SUBMISSION`:              {3, 4},
		fmt.Sprintf(`templateId: %q`, letter):    {0, 1, 2, 5},
		`test: true`:                             {6, 7},
		`test: false, kind: COMBINED_SUBMISSION`: {3, 4},
		`metadata: {customer: "acme"}`:           {0, 1, 2, 5},
	} {
		var chosen []string
		for _, i := range n {
			chosen = append(chosen, want[i])
		}
		if got := said(c.documentFeed(c.live, present.Account.FeedCursor, filter).feed(1 + len(n))[1:]); !slices.Equal(got, chosen) {
			t.Errorf("%s: %q, want %q", filter, got, chosen)
		}
	}
	if got := said(c.documentFeed(c.test, present.Account.FeedCursor, "").feed(3)); !slices.Equal(got, []string{"Ready", want[6], want[7]}) {
		t.Errorf("a test token is told %q", got)
	}
}

func TestR7_3AFeedSaysThatACursorIsNoneOrTooOld(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, bad := range []string{"x", "!!"} {
		if f := c.documentFeed(c.live, bad, "").read(); !strings.Contains(string(f.Payload), "BAD_USER_INPUT") {
			t.Errorf("%q: %s", bad, f.Payload)
		}
	}
	for _, filter := range []string{`templateId: "x"`, `metadata: [1]`} {
		if f := c.documentFeed(c.live, "", filter).read(); !strings.Contains(string(f.Payload), "BAD_USER_INPUT") {
			t.Errorf("%s: %s", filter, f.Payload)
		}
	}
	s := c.documentFeed(c.live, "YW5vdGhlcg", "") // "another"
	if f := s.read(); !strings.Contains(string(f.Payload), "BAD_USER_INPUT") {
		t.Errorf("%s", f.Payload)
	}
	// Of another installation: it has the form of a cursor.
	s = c.documentFeed(c.live, "YW5vdGhlciAxMiAz", "") // "another 12 3"
	if got := said(s.feed(1)); !slices.Equal(got, []string{"ResetCURSOR_EXPIRED"}) {
		t.Errorf("%q", got)
	}
	if f := s.read(); f.Type != "complete" {
		t.Errorf("after a reset: %+v", f)
	}
}
