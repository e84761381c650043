// Package fantail registers the k6 module `k6/x/eventsource`.
package fantail

import (
	"go.k6.io/k6/js/modules"

	"fantail/k6/eventsource"
)

func init() { modules.Register("k6/x/eventsource", eventsource.New()) }
