package memcache

import (
	"context"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// Get returns the item of key, or [ErrCacheMiss], also while its server is down. If the server
// refuses the client's login or either its certificate, and no server has answered the client yet,
// it is a [*ServerDownError] that says so.
func (c *Client) Get(key string) (*Item, error) { return c.GetContext(context.Background(), key) }

// GetContext is [Client.Get] that ends with ctx at the latest.
func (c *Client) GetContext(ctx context.Context, key string) (*Item, error) {
	return c.read(ctx, &protocol.Request{Op: protocol.OpGet, Key: key})
}

// GetAndTouch is Get that also sets the expiration, in seconds as in [Client.Touch]. The item's
// CasID is 0.
func (c *Client) GetAndTouch(key string, expiration int32) (*Item, error) {
	return c.GetAndTouchContext(context.Background(), key, expiration)
}

// GetAndTouchContext is [Client.GetAndTouch] that ends with ctx at the latest.
func (c *Client) GetAndTouchContext(ctx context.Context, key string, expiration int32) (*Item, error) {
	return c.read(ctx, &protocol.Request{Op: protocol.OpGetAndTouch, Key: key, Seconds: expiration})
}

// Touch sets the expiration of key: 0 never, up to 30 days in seconds from now, beyond that as Unix
// time in seconds. [ErrCacheMiss] says that the server does not have the key.
func (c *Client) Touch(key string, seconds int32) error {
	return c.TouchContext(context.Background(), key, seconds)
}

// TouchContext is [Client.Touch] that ends with ctx at the latest.
func (c *Client) TouchContext(ctx context.Context, key string, seconds int32) error {
	_, err := c.write(ctx, &protocol.Request{Op: protocol.OpTouch, Key: key, Seconds: seconds})
	return err
}

// Set stores the item, whatever was there.
func (c *Client) Set(item *Item) error { return c.SetContext(context.Background(), item) }

// SetContext is [Client.Set] that ends with ctx at the latest. If ctx ends first the item may have
// been stored or not; its key is then deleted in the background.
func (c *Client) SetContext(ctx context.Context, item *Item) error {
	return c.store(ctx, protocol.OpSet, item)
}

// Add stores the item if the server has none of its key, else returns [ErrNotStored].
func (c *Client) Add(item *Item) error { return c.AddContext(context.Background(), item) }

// AddContext is [Client.Add] that ends with ctx at the latest.
func (c *Client) AddContext(ctx context.Context, item *Item) error {
	return c.store(ctx, protocol.OpAdd, item)
}

// Replace stores the item if the server has one of its key, else returns [ErrNotStored].
func (c *Client) Replace(item *Item) error { return c.ReplaceContext(context.Background(), item) }

// ReplaceContext is [Client.Replace] that ends with ctx at the latest.
func (c *Client) ReplaceContext(ctx context.Context, item *Item) error {
	return c.store(ctx, protocol.OpReplace, item)
}

// Append adds the item's value behind the stored one, or returns [ErrNotStored] if there is none.
func (c *Client) Append(item *Item) error { return c.AppendContext(context.Background(), item) }

// AppendContext is [Client.Append] that ends with ctx at the latest.
func (c *Client) AppendContext(ctx context.Context, item *Item) error {
	return c.store(ctx, protocol.OpAppend, item)
}

// Prepend adds the item's value before the stored one, or returns [ErrNotStored] if there is none.
func (c *Client) Prepend(item *Item) error { return c.PrependContext(context.Background(), item) }

// PrependContext is [Client.Prepend] that ends with ctx at the latest.
func (c *Client) PrependContext(ctx context.Context, item *Item) error {
	return c.store(ctx, protocol.OpPrepend, item)
}

// CompareAndSwap stores an item that was got from the server if it has not changed since: else
// [ErrCASConflict], or [ErrCacheMiss] if it is gone.
func (c *Client) CompareAndSwap(item *Item) error {
	return c.CompareAndSwapContext(context.Background(), item)
}

// CompareAndSwapContext is [Client.CompareAndSwap] that ends with ctx at the latest.
func (c *Client) CompareAndSwapContext(ctx context.Context, item *Item) error {
	return c.store(ctx, protocol.OpCompareAndSwap, item)
}

// Delete removes key. [ErrCacheMiss] says that the server did not have it; it is never returned
// because the server is down.
func (c *Client) Delete(key string) error { return c.DeleteContext(context.Background(), key) }

// DeleteContext is [Client.Delete] that ends with ctx at the latest.
func (c *Client) DeleteContext(ctx context.Context, key string) error {
	_, err := c.write(ctx, &protocol.Request{Op: protocol.OpDelete, Key: key})
	return err
}

// Increment adds delta to the decimal number stored under key, wrapping at 64 bits, and returns the
// sum. [ErrCacheMiss] says that the server does not have the key.
func (c *Client) Increment(key string, delta uint64) (newValue uint64, err error) {
	return c.IncrementContext(context.Background(), key, delta)
}

// IncrementContext is [Client.Increment] that ends with ctx at the latest.
func (c *Client) IncrementContext(ctx context.Context, key string, delta uint64) (newValue uint64, err error) {
	return c.write(ctx, &protocol.Request{Op: protocol.OpIncrement, Key: key, Delta: delta})
}

// Decrement subtracts delta from the decimal number stored under key, stopping at 0, and returns
// the difference. [ErrCacheMiss] says that the server does not have the key.
func (c *Client) Decrement(key string, delta uint64) (newValue uint64, err error) {
	return c.DecrementContext(context.Background(), key, delta)
}

// DecrementContext is [Client.Decrement] that ends with ctx at the latest.
func (c *Client) DecrementContext(ctx context.Context, key string, delta uint64) (newValue uint64, err error) {
	return c.write(ctx, &protocol.Request{Op: protocol.OpDecrement, Key: key, Delta: delta})
}

// Ping asks every server for its version, all at once. The error joins a [*ServerDownError] for
// each that is down.
func (c *Client) Ping() error { return c.PingContext(context.Background()) }

// PingContext is [Client.Ping] that ends with ctx at the latest.
func (c *Client) PingContext(ctx context.Context) error { return c.everywhere(ctx, protocol.OpPing) }

// FlushAll empties every server, all at once. The error joins those of the servers that could not
// be emptied.
func (c *Client) FlushAll() error { return c.FlushAllContext(context.Background()) }

// FlushAllContext is [Client.FlushAll] that ends with ctx at the latest.
func (c *Client) FlushAllContext(ctx context.Context) error {
	return c.everywhere(ctx, protocol.OpFlush)
}

// DeleteAll is [Client.FlushAll]. (In gomemcache it empties only one of the servers.)
func (c *Client) DeleteAll() error { return c.FlushAll() }

// DeleteAllContext is [Client.DeleteAll] that ends with ctx at the latest.
func (c *Client) DeleteAllContext(ctx context.Context) error { return c.FlushAllContext(ctx) }
