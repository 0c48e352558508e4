package fleet

import "github.com/holdfast-go/holdfast/internal/observe"

// LimitLabels is how many servers that come from now on have a label of their own.
func (f *Fleet) LimitLabels(n int) { f.labels = observe.NewLabels(n) }
