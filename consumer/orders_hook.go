package consumer

// ordersChanged is called when the fleet's orders have changed.
func (c *Consumer) ordersChanged() {}
