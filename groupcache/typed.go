package groupcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// A Codec turns values into bytes and back.
type Codec[T any] interface {
	// Encode makes the bytes of a value.
	Encode(v T) ([]byte, error)
	// Decode makes the value of bytes, which it must not change nor keep.
	Decode(b []byte) (T, error)
}

// JSON is a Codec by encoding/json.
type JSON[T any] struct{}

// Encode makes the JSON of a value.
func (JSON[T]) Encode(v T) ([]byte, error) { return json.Marshal(v) }

// Decode makes the value of JSON.
func (JSON[T]) Decode(b []byte) (T, error) {
	var v T
	err := json.Unmarshal(b, &v)
	return v, err
}

// Typed is a group of values of one type. Make it with NewTyped. It is safe for concurrent use.
type Typed[T any] struct {
	group *Group
	codec Codec[T]
}

// NewTyped makes a Typed of a group, whose Getter must encode values as the codec does; TypedGetter
// makes one. A nil codec is JSON.
func NewTyped[T any](g *Group, codec Codec[T]) *Typed[T] {
	return &Typed[T]{g, orJSON(codec)}
}

func orJSON[T any](codec Codec[T]) Codec[T] {
	if codec == nil {
		return JSON[T]{}
	}
	return codec
}

// TypedGetter makes a Getter of a function that loads a value and says when it expires, the zero
// time for never. A nil codec is JSON.
func TypedGetter[T any](codec Codec[T], load func(ctx context.Context, key string) (T, time.Time, error)) Getter {
	codec = orJSON(codec)
	return GetterFunc(func(ctx context.Context, key string, dest Sink) error {
		v, expire, err := load(ctx, key)
		if err != nil {
			return err
		}
		b, err := codec.Encode(v)
		if err != nil {
			return fmt.Errorf("groupcache: encode the value of key %s: %w", observe.Quote(key), err)
		}
		return dest.SetBytes(b, expire)
	})
}

// TypedBatchGetter makes a BatchGetter of a function that loads the values of several keys, and
// says when they expire, the zero time for never. Keys that are not in the map do not exist. A nil
// codec is JSON.
func TypedBatchGetter[T any](codec Codec[T], load func(ctx context.Context, keys []string) (map[string]T, time.Time, error)) BatchGetter {
	codec = orJSON(codec)
	return BatchGetterFunc(func(ctx context.Context, keys []string, dest func(key string) Sink) error {
		values, expire, err := load(ctx, keys)
		failed := make(KeyErrors)
		for key, v := range values {
			b, err := codec.Encode(v)
			if err == nil {
				err = dest(key).SetBytes(b, expire)
			}
			if err != nil {
				failed[key] = fmt.Errorf("groupcache: encode the value of key %s: %w", observe.Quote(key), err)
			}
		}
		if err == nil && len(failed) > 0 {
			return failed
		}
		return err
	})
}

// Group is the group behind t.
func (t *Typed[T]) Group() *Group { return t.group }

// Get finds the value of a key. See Group.Get.
func (t *Typed[T]) Get(ctx context.Context, key string) (T, error) {
	view, err := t.group.View(ctx, key)
	if err != nil {
		var zero T
		return zero, err
	}
	return t.decode(key, view)
}

// GetMulti finds the values of several keys. See Group.GetMulti. A value that cannot be decoded is
// missing, too, and an error.
func (t *Typed[T]) GetMulti(ctx context.Context, keys []string) (map[string]T, error) {
	views, err := t.group.GetMulti(ctx, keys)
	values, errs := make(map[string]T, len(views)), []error{err}
	for key, view := range views {
		v, err := t.decode(key, view)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		values[key] = v
	}
	return values, errors.Join(errs...)
}

func (t *Typed[T]) decode(key string, view ByteView) (T, error) {
	v, err := t.codec.Decode([]byte(view.s))
	if err != nil {
		return v, fmt.Errorf("groupcache: decode the value of key %s in group %s: %w", observe.Quote(key), observe.Quote(t.group.Name()), err)
	}
	return v, nil
}

// Set stores a value. See Group.Set.
func (t *Typed[T]) Set(ctx context.Context, key string, v T, expire time.Time) error {
	b, err := t.codec.Encode(v)
	if err != nil {
		return fmt.Errorf("groupcache: encode the value of key %s: %w", observe.Quote(key), err)
	}
	return t.group.Set(ctx, key, b, expire, false)
}

// Remove drops a key from the caches of all peers. See Group.Remove.
func (t *Typed[T]) Remove(ctx context.Context, key string) error { return t.group.Remove(ctx, key) }
