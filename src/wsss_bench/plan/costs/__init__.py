"""What stages cost before they ran: hours, GPU memory, disk and files (docs/cost.md). Without torch."""
