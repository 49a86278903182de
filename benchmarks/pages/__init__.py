"""Report pages as blocks, written as Markdown and as HTML, with plots as SVG; sections made of stored records."""
