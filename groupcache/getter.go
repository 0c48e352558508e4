package groupcache

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/observe"
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

// A BatchGetter is a Getter that can load several keys at once, with one query. A group whose
// Getter is one has it load the keys of a GetMulti that no cache has: in this process those that it
// owns, and at their owner those that a peer asks for. Keys that are being loaded already are
// waited for instead. Single Gets are loaded by Get.
type BatchGetter interface {
	Getter
	// GetBatch loads the values of keys, at most MaxBatch and no key twice, and gives each to its
	// sink. A key whose sink is given nothing does not exist: its callers get an *ErrNotFound. An
	// error is that of all keys whose sinks were given nothing; KeyErrors are errors of single
	// keys. The context is as that of Getter.Get; dest must not be called once GetBatch has
	// returned.
	GetBatch(ctx context.Context, keys []string, dest func(key string) Sink) error
}

// MaxBatch is the largest number of keys that a BatchGetter is asked for at once.
const MaxBatch = 500

// KeyErrors is what a BatchGetter returns if some of the keys could not be loaded: why, by key. An
// *ErrNotFound among them is kept as that of a Getter.
type KeyErrors map[string]error

// Error names the first of the keys.
func (e KeyErrors) Error() string {
	if len(e) == 0 {
		return "groupcache: no key has failed"
	}
	keys := make([]string, 0, len(e))
	for key := range e {
		keys = append(keys, key)
	}
	first := slices.Min(keys)
	return fmt.Sprintf("groupcache: %d keys could not be loaded: key %s: %v", len(e), observe.Quote(first), e[first])
}

// Unwrap returns the errors of all keys.
func (e KeyErrors) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, err := range e {
		all = append(all, err)
	}
	return all
}

// A BatchGetterFunc is a function that is a BatchGetter: it loads a single key as a batch of one.
type BatchGetterFunc func(ctx context.Context, keys []string, dest func(key string) Sink) error

// GetBatch calls f.
func (f BatchGetterFunc) GetBatch(ctx context.Context, keys []string, dest func(key string) Sink) error {
	return f(ctx, keys, dest)
}

// Get calls f with one key.
func (f BatchGetterFunc) Get(ctx context.Context, key string, dest Sink) error {
	var own loadSink
	err := f(ctx, []string{key}, func(k string) Sink {
		if k != key {
			return new(loadSink)
		}
		return &own
	})
	if err := notSet(key, outcome.Filling(own), err); err != nil {
		return err
	}
	return dest.setView(viewOf(own.Value))
}

// notSet is why a key has no value after a batch that ended with err; nil if it has one. A key that
// is not there is known to be absent only if there was no error but those of other keys.
func notSet(key string, filling outcome.Filling, err error) error {
	others, own := partErrors(err, key)
	switch {
	case own != nil:
		return own
	case filling.Set:
		return nil
	}
	switch err.(type) { //nolint:errorlint // an error that has others beside KeyErrors is of all keys
	case nil, KeyErrors:
		return &ErrNotFound{Msg: "the batch has no value for it"}
	}
	return ofAll{err, others}
}

// partErrors parts what a batch returned into the errors that are not of single keys and that of a
// key.
func partErrors(err error, key string) (others []error, own error) {
	if !errors.As(err, new(KeyErrors)) {
		return []error{err}, nil
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked
	case KeyErrors:
		return nil, e[key]
	case interface{ Unwrap() error }:
		return partErrors(e.Unwrap(), key)
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			more, its := partErrors(part, key)
			others = append(others, more...)
			if own == nil {
				own = its
			}
		}
	}
	return others, own
}

// ofAll is the error of all keys that a batch returned, beside those of single keys perhaps. It
// wraps what is not of those: that another key is known to be absent says nothing about this one.
type ofAll struct {
	error
	others []error
}

// Unwrap returns what is not of single keys.
func (e ofAll) Unwrap() []error { return e.others }

// batching has a Getter load several keys, nil if it cannot.
func batching(getter Getter) *loader.BatchGetter {
	batches, ok := getter.(BatchGetter)
	if !ok {
		return nil
	}
	return &loader.BatchGetter{
		Most: MaxBatch,
		Get: func(ctx context.Context, keys []string, dest func(string) *outcome.Filling) error {
			return batches.GetBatch(ctx, keys, func(key string) Sink { return (*loadSink)(dest(key)) })
		},
		Failed: notSet,
	}
}
