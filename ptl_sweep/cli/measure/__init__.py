"""Commands about exported detections: measuring those of any detector, exporting a sweep's."""
