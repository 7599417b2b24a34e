package definition

// What tests outside of the package look at.
var (
	InStoredOrder = inStoredOrder
	PlainNumber   = plainNumber
)
