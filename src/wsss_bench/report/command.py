def publish(plan, runs): pass
