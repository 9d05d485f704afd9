"""The history of the store's tables; `service.storage.migrate` applies it when a store is behind."""
