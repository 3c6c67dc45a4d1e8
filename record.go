package platen

// Record is what everything that actions are done with has in common: an identity,
// and those actions. Document and TemplateVersion embed it, so that delivering, retrying
// and following work for all of them by the same code.
type Record struct {
	AccountID string `json:"accountId"`
	ID        string `json:"id"`
	// Test is false for template versions, which are neither test nor live.
	Test bool `json:"test"`
	// PendingActions counts the actions that are still PENDING.
	PendingActions int `json:"pendingActions"`
	// Changes grows with every change of the record or of one of its actions: it puts
	// all that a subscriber can see of it into one order.
	Changes int       `json:"changes"`
	Actions []*Action `json:"actions,omitempty"`
}

// Base is the record itself: what makes its embedder a Subject.
func (r *Record) Base() *Record { return r }

// Action is the action with this id, or nil.
func (r *Record) Action(id string) *Action {
	for _, action := range r.Actions {
		if action.ID == id {
			return action
		}
	}
	return nil
}

// UploadsPending tells whether an upload of the record is still PENDING. Webhooks
// that tell of deliveries wait for that.
func (r *Record) UploadsPending() bool {
	for _, action := range r.Actions {
		if action.Type != ActionWebhook && !action.Final() {
			return true
		}
	}
	return false
}

// Subject is what actions are done with: a *Submission, a *CombinedSubmission or a
// *TemplateVersion.
type Subject interface {
	Base() *Record
	// Final tells whether nothing more happens to it by itself.
	Final() bool
}
