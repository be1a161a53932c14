// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux

/// The origin of a kernel or an initrd.
public struct BootSource: Sendable {
  /// The path, or the name of the descriptor, for messages.
  let name: String
  /// The number of an open descriptor, or nil if the path is opened.
  private let descriptor: Int32?

  /// Creates a source that is opened by its path.
  public init(path: String) { (name, descriptor) = (path, nil) }

  /// Creates a source that is open.
  ///
  /// - Parameters:
  ///   - descriptor: The number of the descriptor. It must stay open until the file is loaded.
  ///   - name: The name for messages.
  public init(descriptor: Int32, name: String) { (self.name, self.descriptor) = (name, descriptor) }

  /// Opens the file.
  func open() throws(KernelError) -> OwnedDescriptor {
    if let descriptor { return try OwnedDescriptor(duplicating: descriptor) }
    return try OwnedDescriptor(opening: name, .readWithoutWaiting)
  }
}

/// An open kernel or initrd. Its errors name the file.
struct ImageFile: ~Copyable {
  let file: BootFile
  /// The size in bytes, at least 1.
  let size: UInt64
  private let descriptor: OwnedDescriptor

  init(opening source: BootSource, as role: BootFile.Role) throws(BootError) {
    let file = BootFile(role, path: source.name)
    let descriptor = try Self.open(source, file)
    let size = try Self.size(of: descriptor, file)
    self.file = file
    self.size = size
    self.descriptor = descriptor
  }

  private static func open(_ source: BootSource, _ file: BootFile) throws(BootError) -> OwnedDescriptor {
    do throws(KernelError) { return try source.open() } catch { throw .unreadable(file, error) }
  }

  private static func size(
    of descriptor: borrowing OwnedDescriptor, _ file: BootFile
  ) throws(BootError) -> UInt64 {
    let size: UInt64
    do throws(KernelError) { size = try descriptor.size(of: file.path) } catch {
      throw error.cause == .wrongFile ? .notRegular(file) : .unreadable(file, error)
    }
    guard size > 0 else { throw .empty(file) }
    return size
  }

  /// Reads up to `count` bytes from `offset` on, at most 1 GiB. Returns fewer bytes at the end of the file.
  borrowing func read(upTo count: Int, at offset: UInt64) throws(BootError) -> [UInt8] {
    guard offset < size else { return [] }
    do throws(KernelError) {
      return try descriptor.read(min(count, Int(min(size - offset, 1 << 30))), at: offset)
    } catch { throw .unreadable(file, error) }
  }

  /// Reads exactly `count` bytes from `offset` on.
  borrowing func read(_ count: Int, at offset: UInt64) throws(BootError) -> [UInt8] {
    try require(offset: offset, count: UInt64(count))
    let bytes = try read(upTo: count, at: offset)
    guard bytes.count == count else {
      throw .truncated(file, has: offset + UInt64(bytes.count), needs: offset + UInt64(count))
    }
    return bytes
  }

  /// Checks that a range is within the file.
  borrowing func require(offset: UInt64, count: UInt64) throws(BootError) {
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard !overflow, end <= size else {
      throw .truncated(file, has: size, needs: overflow ? .max : end)
    }
  }

  /// Copies a range of the file into RAM. The caller must have checked that the destination is RAM.
  borrowing func load(
    offset: UInt64, count: UInt64, into memory: GuestMemory, at address: GuestAddress
  ) throws(BootError) {
    do throws(GuestMemory.LoadError) {
      try memory.load(descriptor, offset: offset, count: count, at: address)
    } catch {
      switch error {
      case .outOfRange(let range): throw .memoryTooSmall(range)
      case .kernel(let error): throw .unreadable(file, error)
      case .truncated(let got, _): throw .truncated(file, has: offset + got, needs: offset + count)
      }
    }
  }
}

extension GuestMemory {
  /// Writes generated data into guest RAM.
  func store(_ bytes: [UInt8], at address: GuestAddress) throws(BootError) {
    do throws(OutOfRange) { try write(bytes, at: address) } catch { throw .memoryTooSmall(error) }
  }
}
