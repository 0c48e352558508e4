// Package parts puts a group together.
package parts

import (
	"github.com/holdfast-go/holdfast/groupcache/internal/fetcher"
	"github.com/holdfast-go/holdfast/groupcache/internal/finder"
	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/handover"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/writer"
)

// Parts are those of a group, and what they share. Make them with New.
type Parts struct {
	Shared   *group.Group
	Loader   *loader.Loader
	Handover *handover.Handover
	Fetcher  *fetcher.Fetcher
	Finder   *finder.Finder
	Writer   *writer.Writer
}

// New makes the parts of a group, which loads as the options say. The handler, if there is one,
// decides what follows the error of a peer.
func New(g *group.Group, o loader.Options, handler fetcher.Handler) Parts {
	p := Parts{Shared: g, Loader: loader.New(g, o)}
	p.Handover = handover.New(g, p.Loader)
	p.Fetcher = fetcher.New(g, p.Loader, o.Timeout, handler)
	p.Finder = finder.New(g, p.Loader, p.Fetcher, p.Handover)
	p.Writer = writer.New(g, p.Loader.Table, p.Fetcher.Table)
	return p
}

// Close ends all loads and fetches under way, and refuses more. Wait follows.
func (p *Parts) Close() {
	p.Loader.Close()
	p.Fetcher.Close()
}

// Wait waits until all have landed.
func (p *Parts) Wait() {
	p.Loader.Wait()
	p.Fetcher.Wait()
}
