// SPDX-License-Identifier: Apache-2.0

public import Seams

/// An I/O address space of this host. The set is closed, so that no call needs an existential.
public final class AddressSpace: IOAddressSpace {
  enum Kind: Sendable {
    case type1(Container)
    case iommufd(IOAS)
  }

  let kind: Kind

  /// Wraps a type1 container.
  public init(_ container: Container) { kind = .type1(container) }

  /// Wraps an I/O address space of iommufd.
  public init(_ space: IOAS) { kind = .iommufd(space) }

  /// Returns the present limits of mappings.
  public func limits() throws(OperationError) -> IOLimits {
    switch kind {
    case .type1(let container): try container.limits()
    case .iommufd(let space): try space.limits()
    }
  }

  /// True for iommufd.
  public var needsDMABuffers: Bool {
    switch kind {
    case .type1(let container): container.needsDMABuffers
    case .iommufd(let space): space.needsDMABuffers
    }
  }

  /// Maps guest RAM for the devices; see ``Container`` and ``IOAS``. All spaces of a VM have the same kind.
  public func map(
    iova: UInt64, size: UInt64, host: UInt64, sharedWith other: AddressSpace?
  ) throws(OperationError) {
    switch kind {
    case .type1(let container): try container.map(iova: iova, size: size, host: host, sharedWith: nil)
    case .iommufd(let space):
      var owner: IOAS?
      if case .iommufd(let first) = other?.kind { owner = first }
      try space.map(iova: iova, size: size, host: host, sharedWith: owner)
    }
  }

  /// Maps a window for the devices; see ``Container`` and ``IOAS``.
  public func map(iova: UInt64, size: UInt64, window: WindowMemory) throws(OperationError) {
    switch kind {
    case .type1(let container): try container.map(iova: iova, size: size, window: window)
    case .iommufd(let space): try space.map(iova: iova, size: size, window: window)
    }
  }

  /// Unmaps all mappings in a range and returns the number of bytes that were mapped.
  public func unmapAll(iova: UInt64, size: UInt64) throws(OperationError) -> UInt64 {
    switch kind {
    case .type1(let container): try container.unmapAll(iova: iova, size: size)
    case .iommufd(let space): try space.unmapAll(iova: iova, size: size)
    }
  }
}
