package groupcache

import (
	"context"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
)

// A Getter loads values.
type Getter interface {
	// Get loads the value of a key and gives it to dest. It returns an *ErrNotFound if there is
	// none. The context has the values of the first caller's, but not its end: it ends when nobody
	// has waited for as long as the load had taken before, a second at least; with WithLoadTimeout
	// then instead; and at Close. A value that comes later is kept, too.
	Get(ctx context.Context, key string, dest Sink) error
}

// A GetterFunc is a function that is a Getter.
type GetterFunc func(ctx context.Context, key string, dest Sink) error

// Get calls f.
func (f GetterFunc) Get(ctx context.Context, key string, dest Sink) error { return f(ctx, key, dest) }

// getting has a Getter load a key.
func getting(getter Getter) func(context.Context, string, *outcome.Filling) error {
	return func(ctx context.Context, key string, into *outcome.Filling) error {
		return getter.Get(ctx, key, (*loadSink)(into))
	}
}
