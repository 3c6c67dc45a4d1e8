package liquid

import (
	"context"
	"slices"
	"strings"
)

// DataVariables lists what the sources read from a submission's data, each name once,
// sorted.
func (e *Engine) DataVariables(ctx context.Context, sources []Source) ([]string, error) {
	names := []string{}
	for _, source := range sources {
		variables, err := e.Variables(ctx, source)
		if err != nil {
			return nil, err
		}
		for _, v := range variables {
			path := v.Path
			switch path[0] {
			case "metadata", "submission_id", "template_id", "template_name", "template_version":
				continue
			case "data":
				path = path[1:]
			}
			if len(path) > 0 {
				names = append(names, strings.Join(path, "."))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
