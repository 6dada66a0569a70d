package condition

import (
	"strings"

	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
)

// What a request and a token can bring at most: Envoy takes 60 KiB of headers by
// default, and a token has 48 KiB.
const (
	maxText     = 64 << 10
	maxElements = 16 << 10

	// MaxBody is the longest body that is read as JSON, in bytes.
	MaxBody = 1 << 20
)

// MayExceed reports whether an evaluation may cost more than limit, in CEL's units.
// Evaluations that do fail, and so deny.
func (c *Condition) MayExceed(limit uint64) bool {
	estimate, err := c.env.EstimateCost(c.checked, sizes{})
	return err != nil || estimate.Max > limit
}

// sizes bounds what the variables hold.
type sizes struct{}

func (sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if node.ComputedSize() != nil || len(node.Path()) == 0 {
		return nil
	}
	if strings.TrimPrefix(node.Path()[0], ".") == "request.json" {
		return &cost.SizeEstimate{Max: MaxBody}
	}
	switch node.Type().Kind() {
	case types.ListKind, types.MapKind:
		return &cost.SizeEstimate{Max: maxElements}
	default:
		return &cost.SizeEstimate{Max: maxText}
	}
}

// EstimateCallCost leaves the costs of functions to CEL.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
