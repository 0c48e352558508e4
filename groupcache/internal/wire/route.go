package wire

// Route is how a peer is asked, and why.
type Route int

// The routes. All but the first are HTTP, or another Network.
const (
	// ByFrames is a connection that all requests share.
	ByFrames Route = iota
	// Off is where frames are off in this process, or the Network has none.
	Off
	// NotOffered is a peer that has not said that it takes frames, or not yet.
	NotOffered
	// Connecting is a peer to which a connection is being made, or has just ended.
	Connecting
	// NotLetThrough is a peer, or something on the way, that does not go on with frames.
	NotLetThrough
	// NoConnection is a peer to which none could be made.
	NoConnection
	// Unsteady is a peer whose connections end again and again.
	Unsteady

	routes = iota
)

// String returns the route's name in metrics.
func (r Route) String() string {
	return [routes]string{"frames", "off", "not_offered", "connecting", "not_let_through", "no_connection", "unsteady"}[r]
}

// Routes are all of them.
func Routes() (all [routes]Route) {
	for i := range all {
		all[i] = Route(i)
	}
	return all
}
